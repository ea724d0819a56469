package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// DefaultDataDir is where k3s keeps everything that must survive a restart.
const DefaultDataDir = "/var/lib/rancher/k3s"

// Node is what both kinds of node need.
type Node struct {
	Values
	DataDir  string
	URL      string
	Token    string
	Name     string
	IP       net.IP
	External string
	Labels   []string
	Taints   []string
}

// NewNode works out the node's settings from what was given and from the machine itself.
func NewNode(v Values) (*Node, error) {
	n := &Node{Values: v, DataDir: v.Text("data-dir", DefaultDataDir), URL: strings.TrimSuffix(v.Text("server", ""), "/"), Labels: v.List("node-label"), Taints: v.List("node-taint")}
	var err error
	if n.Token, err = secret(v, "token"); err != nil {
		return nil, err
	}
	if n.Name = v.Text("node-name", ""); n.Name == "" {
		if n.Name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	n.Name = strings.ToLower(n.Name)
	if given := v.Text("node-ip", ""); given != "" {
		if n.IP = net.ParseIP(given); n.IP == nil {
			return nil, fmt.Errorf("invalid node-ip %q", given)
		}
	} else if n.IP, err = defaultAddress(); err != nil {
		return nil, err
	}
	n.External = v.Text("node-external-ip", "")
	return n, nil
}

// AgentDir is the agent's part of the data directory.
func (n *Node) AgentDir(elements ...string) string {
	return filepath.Join(append([]string{n.DataDir, "agent"}, elements...)...)
}

// ServerDir is the server's part of the data directory.
func (n *Node) ServerDir(elements ...string) string {
	return filepath.Join(append([]string{n.DataDir, "server"}, elements...)...)
}

// secret returns a setting given in the clear or in a file.
func secret(v Values, name string) (string, error) {
	if value := v.Text(name, ""); value != "" {
		return strings.TrimSpace(value), nil
	}
	path := v.Text(name+"-file", "")
	if path == "" {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content)), nil
}

// defaultAddress is the address that the default route would use; nothing is sent.
func defaultAddress() (net.IP, error) {
	connection, err := net.Dial("udp4", "198.51.100.1:9")
	if err != nil {
		return nil, errors.New("no default routes found in \"/proc/net/route\" or \"/proc/net/ipv6_route\"")
	}
	defer connection.Close()
	return connection.LocalAddr().(*net.UDPAddr).IP, nil
}
