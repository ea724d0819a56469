package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
)

// Server is what a server needs besides a node's settings.
type Server struct {
	*Node
	AgentToken string
	Advertise  string
	Port       int
	ServiceIP  net.IP
	Critical   Critical
}

// Critical is the configuration that every server of a cluster must share.
type Critical struct {
	ClusterCIDR           string
	ServiceCIDR           string
	ClusterDNS            string
	ClusterDomain         string
	DisableCCM            bool
	DisableHelmController bool
	DisableNPC            bool
	DisableServiceLB      bool
	EgressSelectorMode    string
	EmbeddedRegistry      bool
	EncryptSecrets        bool
	EncryptProvider       string
	FlannelBackend        string
	FlannelExternalIP     bool
	FlannelIPv6Masq       bool
}

// NewServer works out a server's settings.
func NewServer(v Values) (*Server, error) {
	node, err := NewNode(v)
	if err != nil {
		return nil, err
	}
	s := &Server{Node: node}
	if s.AgentToken, err = secret(v, "agent-token"); err != nil {
		return nil, err
	}
	if v.Bool("cluster-reset") && s.URL != "" {
		return nil, errors.New("cannot perform cluster-reset while server URL is set - remove server from configuration before resetting")
	}
	if v.Text("cluster-reset-restore-path", "") != "" && !v.Bool("cluster-reset") {
		return nil, errors.New("invalid flag use; --cluster-reset required with --cluster-reset-restore-path")
	}
	if s.Port, err = strconv.Atoi(v.Text("https-listen-port", "6443")); err != nil {
		return nil, fmt.Errorf("invalid https-listen-port: %w", err)
	}
	s.Advertise = v.Text("advertise-address", v.Text("node-external-ip", s.IP.String()))
	s.Critical = Critical{
		ClusterCIDR: v.Text("cluster-cidr", "10.42.0.0/16"), ServiceCIDR: v.Text("service-cidr", "10.43.0.0/16"),
		ClusterDNS: v.Text("cluster-dns", ""), ClusterDomain: v.Text("cluster-domain", "cluster.local"),
		DisableCCM: v.Bool("disable-cloud-controller"), DisableHelmController: v.Bool("disable-helm-controller"),
		DisableNPC: v.Bool("disable-network-policy"), DisableServiceLB: slices.Contains(v.List("disable"), "servicelb"),
		EgressSelectorMode: v.Text("egress-selector-mode", "agent"), EmbeddedRegistry: v.Bool("embedded-registry"),
		EncryptSecrets: v.Bool("secrets-encryption"), EncryptProvider: v.Text("secrets-encryption-provider", "aescbc"),
		FlannelBackend: v.Text("flannel-backend", "vxlan"), FlannelExternalIP: v.Bool("flannel-external-ip"),
		FlannelIPv6Masq: v.Bool("flannel-ipv6-masq"),
	}
	_, services, err := net.ParseCIDR(s.Critical.ServiceCIDR)
	if err != nil {
		return nil, fmt.Errorf("invalid service-cidr: %w", err)
	}
	if _, _, err := net.ParseCIDR(s.Critical.ClusterCIDR); err != nil {
		return nil, fmt.Errorf("invalid cluster-cidr: %w", err)
	}
	s.ServiceIP = nth(services, 1)
	if s.Critical.ClusterDNS == "" {
		s.Critical.ClusterDNS = nth(services, 10).String()
	}
	return s, nil
}

// Mismatched names the settings in which two servers differ.
func (c Critical) Mismatched(other Critical) []string {
	pairs := []struct {
		name string
		a, b any
	}{
		{"cluster-cidr", c.ClusterCIDR, other.ClusterCIDR}, {"service-cidr", c.ServiceCIDR, other.ServiceCIDR},
		{"cluster-dns", c.ClusterDNS, other.ClusterDNS}, {"cluster-domain", c.ClusterDomain, other.ClusterDomain},
		{"disable-cloud-controller", c.DisableCCM, other.DisableCCM}, {"disable-helm-controller", c.DisableHelmController, other.DisableHelmController},
		{"disable-network-policy", c.DisableNPC, other.DisableNPC}, {"disable=servicelb", c.DisableServiceLB, other.DisableServiceLB},
		{"egress-selector-mode", c.EgressSelectorMode, other.EgressSelectorMode}, {"embedded-registry", c.EmbeddedRegistry, other.EmbeddedRegistry},
		{"secrets-encryption", c.EncryptSecrets, other.EncryptSecrets}, {"secrets-encryption-provider", c.EncryptProvider, other.EncryptProvider},
		{"flannel-backend", c.FlannelBackend, other.FlannelBackend}, {"flannel-external-ip", c.FlannelExternalIP, other.FlannelExternalIP},
		{"flannel-ipv6-masq", c.FlannelIPv6Masq, other.FlannelIPv6Masq},
	}
	names := []string{}
	for _, pair := range pairs {
		if pair.a != pair.b {
			names = append(names, pair.name)
		}
	}
	return names
}

func nth(network *net.IPNet, n byte) net.IP {
	ip := slices.Clone(network.IP.To4())
	if ip == nil {
		ip = slices.Clone(network.IP)
	}
	ip[len(ip)-1] += n
	return ip
}
