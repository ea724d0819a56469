package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
)

// AdminKubeconfig is where people look for it.
const AdminKubeconfig = "/etc/rancher/k3s/k3s.yaml"

// writeAdmin writes the administrators' kubeconfig; written elsewhere, it is linked from the usual place.
func writeAdmin(s *config.Server) error {
	mode := os.FileMode(0o600)
	if given := s.Text("write-kubeconfig-mode", ""); given != "" {
		parsed, err := strconv.ParseUint(given, 8, 32)
		if err != nil {
			return fmt.Errorf("invalid write-kubeconfig-mode %q: %w", given, err)
		}
		mode = os.FileMode(parsed)
	}
	path := s.Text("write-kubeconfig", AdminKubeconfig)
	url := fmt.Sprintf("https://%s:%d", s.Text("bind-address", "127.0.0.1"), s.Port)
	tls := func(name string) string { return s.ServerDir("tls", name) }
	if err := kubeconfig.Admin(path, mode, url, tls("server-ca.crt"), tls("client-admin.crt"), tls("client-admin.key")); err != nil {
		return err
	}
	if path == AdminKubeconfig {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(AdminKubeconfig), 0o755); err != nil {
		return err
	}
	return files.Link(path, AdminKubeconfig)
}
