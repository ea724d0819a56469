package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/controlplane"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/pki"
)

// bundled names, below the server directory, what every server must hold a copy of.
func bundled() []string {
	names := []string{"tls/" + pki.ServiceKey, "cred/encryption-config.json"}
	for _, authority := range pki.Authorities {
		names = append(names, "tls/"+authority+".crt", "tls/"+authority+".key")
	}
	return names
}

// bundle is what a joining server receives.
func bundle(s *config.Server) ([]byte, error) {
	contents := map[string][]byte{}
	for _, name := range bundled() {
		content, err := os.ReadFile(s.ServerDir(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		contents[name] = content
	}
	return json.Marshal(contents)
}

// fetchBundle makes this machine a server of the cluster behind the client: same settings, same authorities.
func fetchBundle(ctx context.Context, s *config.Server, client *join.Client) error {
	answer, err := client.Get(ctx, "/v1-k3s/server-bootstrap")
	if err != nil {
		return fmt.Errorf("failed to bootstrap cluster data: failed to check if bootstrap data has been initialized: failed to validate token: %w", err)
	}
	if err := validate(ctx, s, client); err != nil {
		return fmt.Errorf("failed to validate server configuration: %w", err)
	}
	contents := map[string][]byte{}
	if err := json.Unmarshal(answer, &contents); err != nil {
		return err
	}
	for name, content := range contents {
		if !slices.Contains(bundled(), name) {
			return fmt.Errorf("unexpected bootstrap data %q", name)
		}
		mode := os.FileMode(0o600)
		if strings.HasSuffix(name, ".crt") {
			mode = 0o644
		}
		if err := files.Write(s.ServerDir(filepath.FromSlash(name)), content, mode); err != nil {
			return err
		}
	}
	return nil
}

func validate(ctx context.Context, s *config.Server, client *join.Client) error {
	answer, err := client.Get(ctx, "/v1-k3s/config")
	if err != nil {
		return err
	}
	var theirs config.Critical
	if err := json.Unmarshal(answer, &theirs); err != nil {
		return err
	}
	if names := s.Critical.Mismatched(theirs); len(names) > 0 {
		logrus.Warnf("critical configuration mismatched: %s", strings.Join(names, ", "))
		return errors.New("critical configuration value mismatch between servers")
	}
	return nil
}

// prepare lays out the server directory: authorities, certificates, tokens and the administrators' kubeconfig.
func prepare(s *config.Server, p *passwords) error {
	for _, dir := range []string{"tls", "cred", "manifests", "static", "db", "etc"} {
		if err := os.MkdirAll(s.ServerDir(dir), 0o700); err != nil {
			return err
		}
	}
	if err := pki.Ensure(s.ServerDir("tls")); err != nil {
		return err
	}
	if s.Critical.EncryptSecrets {
		if err := controlplane.EnsureEncryption(s); err != nil {
			return err
		}
	}
	if err := controlplane.Issue(s); err != nil {
		return err
	}
	if err := p.write(s); err != nil {
		return err
	}
	return writeAdmin(s)
}
