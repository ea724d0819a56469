// Package controlplane holds the credentials and the command lines of the API server and its controllers.
package controlplane

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/pki"
)

// apiAddress is the API server's own loopback address. It shares the port number with the supervisor, which listens
// on all others: so the addresses that the API server advertises carry the right port.
const apiAddress = "127.0.0.2"

// APIHost is where the API server itself listens.
func APIHost(port int) string { return net.JoinHostPort(apiAddress, strconv.Itoa(port)) }

// Owns says whether an address is the API server's own.
func Owns(ip net.IP) bool { return ip.String() == apiAddress }

// APIURL is the API server of this machine.
func APIURL(port int) string { return "https://" + APIHost(port) }

// Issue makes every certificate and kubeconfig that this server needs.
func Issue(s *config.Server) error {
	dir := s.ServerDir("tls")
	hosts := append([]string{
		"localhost", "127.0.0.1", apiAddress, s.Name, s.IP.String(), s.Advertise, s.ServiceIP.String(),
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + s.Critical.ClusterDomain,
	}, s.List("tls-san")...)
	if s.External != "" {
		hosts = append(hosts, s.External)
	}
	local := []string{"localhost", "127.0.0.1", s.IP.String(), s.Name}
	for _, leaf := range []struct {
		authority, name string
		leaf            pki.Leaf
	}{
		{"server-ca", "serving-kube-apiserver", pki.Leaf{Name: "kube-apiserver", Hosts: hosts, Server: true}},
		{"client-ca", "client-admin", pki.Leaf{Name: "system:admin", Groups: []string{"system:masters"}, Client: true}},
		{"client-ca", "client-supervisor", pki.Leaf{Name: "system:k3s-supervisor", Groups: []string{"system:masters"}, Client: true}},
		{"client-ca", "client-controller", pki.Leaf{Name: "system:kube-controller-manager", Client: true}},
		{"client-ca", "client-scheduler", pki.Leaf{Name: "system:kube-scheduler", Client: true}},
		{"client-ca", "client-kube-apiserver", pki.Leaf{Name: "system:apiserver", Groups: []string{"system:masters"}, Client: true}},
		{"request-header-ca", "client-auth-proxy", pki.Leaf{Name: "system:auth-proxy", Client: true}},
		{"etcd/server-ca", "etcd/client", pki.Leaf{Name: "etcd-client", Client: true}},
		{"etcd/server-ca", "etcd/server-client", pki.Leaf{Name: "etcd-server", Hosts: local, Server: true, Client: true}},
		{"etcd/peer-ca", "etcd/peer-server-client", pki.Leaf{Name: "etcd-peer", Hosts: local, Server: true, Client: true}},
	} {
		authority, err := pki.Load(dir, leaf.authority)
		if err != nil {
			return err
		}
		if err := authority.Issue(filepath.Join(dir, leaf.name), leaf.leaf); err != nil {
			return err
		}
	}
	for file, leaf := range map[string]string{"admin": "client-admin", "supervisor": "client-supervisor", "controller": "client-controller", "scheduler": "client-scheduler"} {
		path := Kubeconfig(s, file)
		if err := kubeconfig.Component(path, APIURL(s.Port), filepath.Join(dir, "server-ca.crt"), filepath.Join(dir, leaf+".crt"), filepath.Join(dir, leaf+".key")); err != nil {
			return err
		}
	}
	return nil
}

// Kubeconfig is the kubeconfig of one of the control plane's own clients.
func Kubeconfig(s *config.Server, name string) string {
	return s.ServerDir("cred", name+".kubeconfig")
}

// EncryptionConfig is where the API server finds the keys that Secrets are encrypted with.
func EncryptionConfig(s *config.Server) string { return s.ServerDir("cred", "encryption-config.json") }

// EnsureEncryption makes the encryption key of a new cluster; joining servers receive it.
func EnsureEncryption(s *config.Server) error {
	_, err := files.ReadOr(EncryptionConfig(s), 0o600, func() ([]byte, error) {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		provider := map[string]any{"keys": []map[string]string{{"name": s.Critical.EncryptProvider + "key", "secret": base64.StdEncoding.EncodeToString(key)}}}
		return json.Marshal(map[string]any{
			"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
			"resources": []any{map[string]any{
				"resources": []string{"secrets"},
				"providers": []any{map[string]any{s.Critical.EncryptProvider: provider}, map[string]any{"identity": map[string]any{}}},
			}},
		})
	})
	return err
}
