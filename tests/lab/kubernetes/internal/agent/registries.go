package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"slicer-k3s.lab/kubernetes/internal/files"
)

type registries struct {
	Mirrors map[string]struct {
		Endpoints []string          `yaml:"endpoint"`
		Rewrites  map[string]string `yaml:"rewrite"`
	} `yaml:"mirrors"`
	Configs map[string]struct {
		TLS struct {
			CAFile             string `yaml:"ca_file"`
			InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
		} `yaml:"tls"`
	} `yaml:"configs"`
}

// writeRegistries turns registries.yaml into the directory that containerd reads its mirrors from.
func writeRegistries(path, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return os.MkdirAll(dir, 0o755)
	} else if err != nil {
		return err
	}
	var given registries
	if err := yaml.Unmarshal(content, &given); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, mirror := range given.Mirrors {
		var text strings.Builder
		for _, endpoint := range mirror.Endpoints {
			fmt.Fprintf(&text, "[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", endpoint)
			host := strings.TrimPrefix(strings.TrimPrefix(endpoint, "https://"), "http://")
			if tls := given.Configs[host].TLS; tls.CAFile != "" {
				fmt.Fprintf(&text, "  ca = %q\n", tls.CAFile)
			} else if tls.InsecureSkipVerify {
				text.WriteString("  skip_verify = true\n")
			}
		}
		if name == "*" {
			name = "_default"
		}
		if strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("%s: invalid mirror name %q", path, name)
		}
		if err := files.Write(filepath.Join(dir, name, "hosts.toml"), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755)
}
