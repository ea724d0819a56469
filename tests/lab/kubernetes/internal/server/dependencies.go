package server

import (
	"crypto/sha256"
	"encoding/hex"
	"os"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/controlplane"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/pki"
	"slicer-k3s.lab/kubernetes/internal/token"
)

const pskBytes = 48

// generate makes whatever of the server directory is not there yet: authorities, certificates, passwords, keys.
func generate(s *config.Server) (*passwd.Passwords, error) {
	for _, dir := range []string{"tls", "cred", "manifests", "static", "db", "etc"} {
		if err := os.MkdirAll(s.ServerDir(dir), 0o700); err != nil {
			return nil, err
		}
	}
	if err := pki.Ensure(s.ServerDir("tls")); err != nil {
		return nil, err
	}
	if err := controlplane.Issue(s); err != nil {
		return nil, err
	}
	users, err := ensureUsers(s)
	if err != nil {
		return nil, err
	}
	if _, err := files.ReadOr(s.ServerDir("cred", "ipsec.psk"), 0o600, func() ([]byte, error) {
		key, err := token.Random(pskBytes)
		return []byte(key + "\n"), err
	}); err != nil {
		return nil, err
	}
	return users, ensureEncryption(s)
}

func ensureEncryption(s *config.Server) error {
	if !s.Critical.EncryptSecrets {
		return nil
	}
	if err := controlplane.EnsureEncryption(s); err != nil {
		return err
	}
	_, err := files.ReadOr(s.ServerDir("cred", "encryption-state.json"), 0o600, func() ([]byte, error) {
		keys, err := os.ReadFile(controlplane.EncryptionConfig(s))
		sum := sha256.Sum256(keys)
		return []byte("start-" + hex.EncodeToString(sum[:])), err
	})
	return err
}

// ensureUsers brings the passwords' file in line with the configuration. Without an agent token of its own, nodes join
// with the server's.
func ensureUsers(s *config.Server) (*passwd.Passwords, error) {
	path := s.ServerDir("cred", "passwd")
	users, err := passwd.Read(path)
	if err != nil {
		return nil, err
	}
	server := s.Token
	if server == "" {
		server = users.Get(passwd.Server)
	}
	if server == "" {
		if server, err = token.Random(16); err != nil {
			return nil, err
		}
	}
	node := s.AgentToken
	if node == "" {
		parsed, err := token.Parse(server, passwd.Server)
		if err != nil {
			return nil, err
		}
		node = parsed.Password
	}
	if err := users.Ensure(passwd.Node, passwd.GroupAgent, node); err != nil {
		return nil, err
	}
	if err := users.Ensure(passwd.Server, passwd.GroupServer, server); err != nil {
		return nil, err
	}
	return users, users.Write(path)
}
