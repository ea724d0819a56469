// Package agent is the part of a node that runs pods: runtime, kubelet, proxy and overlay network.
package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/token"
)

// identityDir outlives an uninstall, as in the original: that is what the node-password trap is made of.
const identityDir = "/etc/rancher/node"

// Identify gives the node its final name and its password.
func Identify(n *config.Node) (password string, err error) {
	if n.Bool("with-node-id") {
		id, err := secret("id", 4)
		if err != nil {
			return "", err
		}
		n.Name = fmt.Sprintf("%s-%s", n.Name, id)
	}
	return secret("password", 16)
}

func secret(name string, length int) (string, error) {
	content, err := files.ReadOr(filepath.Join(identityDir, name), 0o600, func() ([]byte, error) {
		value, err := token.Random(length)
		return []byte(value + "\n"), err
	})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content)), os.Chmod(filepath.Join(identityDir, name), 0o600)
}
