package server

import (
	"context"
	"errors"
	"os"
	"strings"

	"slicer-k3s.lab/kubernetes/internal/bootstrap"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/token"
)

var errNormalize = errors.New("failed to normalize server token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>")

// normalize is the password in a server token of whichever form.
func normalize(text string) (string, error) {
	parsed, err := token.Parse(text, passwd.Server)
	if err != nil || parsed.ID != "" {
		return "", errNormalize
	}
	return parsed.Password, nil
}

// currentPassword is the one that the bootstrap data is sealed with: of the configuration, else of the token's file.
func currentPassword(s *config.Server) (string, error) {
	if s.Token != "" {
		return normalize(s.Token)
	}
	content, err := os.ReadFile(s.ServerDir("token"))
	if errors.Is(err, os.ErrNotExist) {
		users, err := passwd.Read(s.ServerDir("cred", "passwd"))
		if err != nil {
			return "", err
		}
		return normalize(users.Get(passwd.Server))
	} else if err != nil {
		return "", err
	}
	return normalize(strings.TrimSpace(string(content)))
}

// publish puts the tokens, in full form, where people and the installers of agents look for them.
func publish(s *config.Server, users *passwd.Passwords) error {
	if err := writeToken(s, "token", passwd.Server, users.Get(passwd.Server)); err != nil {
		return err
	}
	if err := files.Link(s.ServerDir("token"), s.ServerDir("node-token")); err != nil {
		return err
	}
	if s.AgentToken == "" {
		return files.Link(s.ServerDir("token"), s.ServerDir("agent-token"))
	}
	if _, err := os.Readlink(s.ServerDir("agent-token")); err == nil {
		if err := os.Remove(s.ServerDir("agent-token")); err != nil {
			return err
		}
	}
	return writeToken(s, "agent-token", passwd.Node, users.Get(passwd.Node))
}

func writeToken(s *config.Server, name, user, password string) error {
	ca, err := os.ReadFile(s.ServerDir("tls", "server-ca.crt"))
	if err != nil {
		return err
	}
	return files.Write(s.ServerDir(name), []byte(token.Format(token.HashCA(ca), user, password)+"\n"), 0o600)
}

// rotate gives the cluster a new server token: in the datastore and in this server's files. Who may come in is not
// changed by it on any server, this one included, before its next start.
func rotate(ctx context.Context, s *config.Server, member *etcd.Member, fresh string) error {
	path := s.ServerDir("cred", "passwd")
	users, err := passwd.Read(path)
	if err != nil {
		return err
	}
	old := users.Get(passwd.Server)
	if old == "" {
		return errors.New("server token not found")
	}
	if fresh == "" {
		if fresh, err = token.Random(16); err != nil {
			return err
		}
	}
	if fresh, err = normalize(fresh); err != nil {
		return err
	}
	shared := users.Get(passwd.Node) == old && s.AgentToken == ""
	if err := users.Ensure(passwd.Server, passwd.GroupServer, fresh); err != nil {
		return err
	}
	if shared {
		if err := users.Ensure(passwd.Node, passwd.GroupAgent, fresh); err != nil {
			return err
		}
	}
	if err := users.Write(path); err != nil {
		return err
	}
	if err := writeToken(s, "token", passwd.Server, fresh); err != nil {
		return err
	}
	if err := bootstrap.Rotate(ctx, member.Store(), old, fresh); err != nil {
		return err
	}
	return save(ctx, s, member, fresh, true)
}
