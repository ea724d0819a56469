package agent

import (
	"bufio"
	"net"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
)

// kubeletArguments writes the kubelet's configuration and returns its command line.
func kubeletArguments(n *config.Node, cluster config.Critical) ([]string, error) {
	resolv, err := resolvConf(n)
	if err != nil {
		return nil, err
	}
	settings := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": n.AgentDir("client-ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"address":                  "0.0.0.0",
		"cgroupDriver":             "cgroupfs",
		"clusterDNS":               []string{cluster.ClusterDNS},
		"clusterDomain":            cluster.ClusterDomain,
		"evictionHard":             map[string]string{"imagefs.available": "5%", "nodefs.available": "5%"},
		"failSwapOn":               false,
		"resolvConf":               resolv,
		"staticPodPath":            n.AgentDir("pod-manifests"),
		"tlsCertFile":              n.AgentDir("serving-kubelet.crt"),
		"tlsPrivateKeyFile":        n.AgentDir("serving-kubelet.key"),
		"containerRuntimeEndpoint": "unix://" + Socket,
		"serializeImagePulls":      false,
		// Without CAP_SYS_RESOURCE the kubelet cannot set limits and OOM scores; this makes it forgive that.
		"featureGates": map[string]bool{"KubeletInUserNamespace": true},
	}
	content, err := yaml.Marshal(settings)
	if err != nil {
		return nil, err
	}
	path := n.AgentDir("etc", "kubelet.conf.d", "00-k3s-defaults.conf")
	if err := files.Write(path, content, 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.AgentDir("pod-manifests"), 0o700); err != nil {
		return nil, err
	}
	args := []string{
		"--config=" + path,
		"--kubeconfig=" + n.AgentDir("kubelet.kubeconfig"),
		"--hostname-override=" + n.Name,
		"--node-ip=" + n.IP.String(),
		"--root-dir=/var/lib/kubelet",
	}
	// The cloud controller of the original would set these two.
	args = append(args, "--provider-id=k3s://"+n.Name)
	args = append(args, "--node-labels="+strings.Join(append([]string{"node.kubernetes.io/instance-type=k3s"}, n.Labels...), ","))
	if len(n.Taints) > 0 {
		args = append(args, "--register-with-taints="+strings.Join(n.Taints, ","))
	}
	return append(args, given(n, "kubelet-arg")...), nil
}

func proxyArguments(n *config.Node, cluster config.Critical) []string {
	return append([]string{
		"--kubeconfig=" + n.AgentDir("kubeproxy.kubeconfig"),
		"--cluster-cidr=" + cluster.ClusterCIDR,
		"--hostname-override=" + n.Name,
		"--proxy-mode=iptables",
		"--healthz-bind-address=127.0.0.1",
		// The connection tracking limits belong to the machine under the lab, not to one node.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	}, given(n, "kube-proxy-arg")...)
}

func given(n *config.Node, name string) []string {
	args := []string{}
	for _, item := range n.List(name) {
		args = append(args, "--"+item)
	}
	return args
}

// resolvConf is the resolver configuration that pods inherit: the machine's, unless that names no usable server.
func resolvConf(n *config.Node) (string, error) {
	if chosen := n.Text("resolv-conf", ""); chosen != "" {
		return chosen, nil
	}
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		if usable(path) {
			return path, nil
		}
	}
	path := n.AgentDir("etc", "resolv.conf")
	return path, files.Write(path, []byte("nameserver 8.8.8.8\n"), 0o644)
}

func usable(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	found := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "nameserver" {
			ip := net.ParseIP(fields[1])
			if ip == nil || ip.IsLoopback() || ip.IsMulticast() {
				return false
			}
			found = true
		}
	}
	return found
}
