package server

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/token"
)

// passwords are what nodes join with.
type passwords struct {
	mutex  sync.RWMutex
	server string
	agent  string
}

func (p *passwords) get() (server, agent string) {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	return p.server, p.agent
}

// loadPasswords takes them from the configuration, else from what an earlier start wrote, else makes them.
func loadPasswords(s *config.Server) (*passwords, error) {
	p := &passwords{}
	var err error
	if p.server, err = password(s.Token, s.ServerDir("token")); err != nil {
		return nil, fmt.Errorf("server token: %w", err)
	}
	if p.server == "" {
		if p.server, err = token.Random(16); err != nil {
			return nil, err
		}
	}
	p.agent = p.server
	if s.AgentToken != "" {
		if p.agent, err = password(s.AgentToken, ""); err != nil {
			return nil, fmt.Errorf("agent token: %w", err)
		}
	}
	return p, nil
}

func password(given, path string) (string, error) {
	if given == "" && path != "" {
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		} else if err != nil {
			return "", err
		}
		given = strings.TrimSpace(string(content))
	}
	parsed, err := token.Parse(given, "server")
	return parsed.Password, err
}

// write puts the tokens, in full form, where people and the installers of agents look for them.
func (p *passwords) write(s *config.Server) error {
	ca, err := os.ReadFile(s.ServerDir("tls", "server-ca.crt"))
	if err != nil {
		return err
	}
	hash := token.HashCA(ca)
	server, agent := p.get()
	if err := files.Write(s.ServerDir("token"), []byte(token.Format(hash, "server", server)+"\n"), 0o600); err != nil {
		return err
	}
	if err := files.Link(s.ServerDir("token"), s.ServerDir("node-token")); err != nil {
		return err
	}
	if agent == server {
		return files.Link(s.ServerDir("token"), s.ServerDir("agent-token"))
	}
	if target, err := os.Readlink(s.ServerDir("agent-token")); err == nil && target != "" {
		if err := os.Remove(s.ServerDir("agent-token")); err != nil {
			return err
		}
	}
	return files.Write(s.ServerDir("agent-token"), []byte(token.Format(hash, "node", agent)+"\n"), 0o600)
}
