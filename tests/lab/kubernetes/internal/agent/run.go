package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/balancer"
	"slicer-k3s.lab/kubernetes/internal/certmonitor"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/flannel"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/notify"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/process"
	"slicer-k3s.lab/kubernetes/internal/token"
)

const (
	connectEvery  = 2 * time.Second
	learnEvery    = 10 * time.Second
	overlayEvery  = time.Second
	controllerCfg = "k3scontroller.kubeconfig"
)

// Agent runs `k3s agent`: it tries for ever, as the original does, except where its own settings are wrong.
func Agent(ctx context.Context, n *config.Node, children *process.Group) error {
	if n.URL == "" {
		return errors.New("--server is required")
	}
	if n.Token == "" {
		return errors.New("--token is required")
	}
	if _, err := token.Parse(n.Token, "node"); err != nil {
		return err
	}
	server, err := url.Parse(n.URL)
	if err != nil {
		return err
	}
	password, err := Identify(n)
	if err != nil {
		return err
	}
	address := server.Host
	if server.Port() == "" {
		address = net.JoinHostPort(server.Hostname(), "443")
	}
	local := net.JoinHostPort("127.0.0.1", n.Text("lb-server-port", "6444"))
	servers, err := balancer.Listen(ctx, local, address, n.AgentDir("etc", "k3s-agent-load-balancer.json"))
	if err != nil {
		return err
	}
	var client *join.Client
	for {
		if client, err = Connect(ctx, n, "https://"+local, n.Token); err == nil {
			break
		}
		logrus.Errorf("Failed to validate connection to cluster at %s: %v", n.URL, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(connectEvery):
		}
	}
	cluster, err := Credentials(ctx, n, client, "https://"+local, password)
	if err != nil {
		return err
	}
	if err := StartRuntime(ctx, n, children); err != nil {
		return &process.Shutdown{Cause: fmt.Errorf("failed to start container runtime: %w", err)}
	}
	if err := Run(ctx, n, cluster, children); err != nil {
		return err
	}
	go learn(ctx, client, servers)
	return notify.Ready()
}

// learn keeps the balancer's list of servers the cluster's.
func learn(ctx context.Context, client *join.Client, servers *balancer.Balancer) {
	for {
		answer, err := client.Get(ctx, "/v1-k3s/apiservers")
		if err == nil {
			var addresses []string
			if err = json.Unmarshal(answer, &addresses); err == nil {
				err = servers.Update(addresses)
			}
		}
		if err != nil {
			logrus.Debugf("servers not learned: %v", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(learnEvery):
		}
	}
}

// Connect is this node's way to a server: by its token, and by its own certificate where it has one already.
func Connect(ctx context.Context, n *config.Node, url, text string) (*join.Client, error) {
	return join.Connect(ctx, join.Origin{
		URL: url, Token: text, User: passwd.Node,
		Certificate: n.AgentDir("client-kubelet.crt"), Key: n.AgentDir("client-kubelet.key"),
	})
}

// Run starts what makes this machine a node; the container runtime runs already.
func Run(ctx context.Context, n *config.Node, cluster config.Critical, children *process.Group) error {
	arguments, err := kubeletArguments(n, cluster)
	if err != nil {
		return err
	}
	if err := children.Component("kubelet", arguments...); err != nil {
		return err
	}
	if !n.Bool("disable-kube-proxy") {
		if err := children.Component("kube-proxy", proxyArguments(n, cluster)...); err != nil {
			return err
		}
	}
	if err := certmonitor.Run(ctx, n); err != nil {
		return err
	}
	if cluster.FlannelBackend == "none" {
		return nil
	}
	if cluster.FlannelBackend != "vxlan" {
		return fmt.Errorf("flannel backend %q is not offered here: vxlan or none", cluster.FlannelBackend)
	}
	go func() {
		if err := overlay(ctx, n, cluster); err != nil && ctx.Err() == nil {
			children.Failed <- fmt.Errorf("flannel exited: %w", err)
		}
	}()
	return nil
}

func overlay(ctx context.Context, n *config.Node, cluster config.Critical) error {
	path := n.AgentDir(controllerCfg)
	rest, err := kubeconfig.Load(path)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err == nil && node.Spec.PodCIDR != "" {
			break
		}
		if err != nil {
			logrus.Debugf("Waiting for node %s: %v", n.Name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(overlayEvery):
		}
	}
	return flannel.Run(ctx, flannel.Settings{
		NodeName: n.Name, Address: n.IP, Interface: n.Text("flannel-iface", ""), Network: cluster.ClusterCIDR,
		Kubeconfig: path, ConfigDir: filepath.Dir(CNIDir(n)), CNIDir: CNIDir(n),
	})
}
