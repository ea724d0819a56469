package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/cloudconfig"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicerapi"
)

// Group is a node group backed by a Slicer host group.
type Group struct {
	config           cloudconfig.Group
	arch             string
	k3sURL, k3sToken string
	slicer           *slicerapi.Client
	client           kubernetes.Interface

	mutex  sync.Mutex
	target int
}

// Name is the host group's name.
func (g *Group) Name() string { return g.config.Name }

// MinSize is the floor of scale-down.
func (g *Group) MinSize() int { return g.config.Min }

// MaxSize is the ceiling of scale-up.
func (g *Group) MaxSize() int { return g.config.Max }

// TargetSize is how many nodes the group is meant to have. It lives in memory only.
func (g *Group) TargetSize() int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.target
}

// Nodes returns the names of the Nodes that have a VM; VMs without a Node are invisible.
func (g *Group) Nodes(ctx context.Context) ([]string, error) {
	klogat.Info(4, "slicer_node_group.go:233", "Slicer: Fetching nodes for group %s", g.Name())
	vms, err := g.slicer.Nodes(ctx, g.Name())
	if err != nil {
		return nil, fmt.Errorf("failed to fetch nodes: %w", err)
	}
	klogat.Info(4, "slicer_node_group.go:239", "Slicer: API returned %d nodes for group %s", len(vms), g.Name())
	nodes, err := g.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to list Kubernetes nodes: %w", err)
	}
	// Of two Nodes with the same VM the last one counts.
	byHostname := map[string]string{}
	for _, node := range nodes.Items {
		hostname, labelled := node.Labels[LabelHostname]
		if labelled && node.Labels[LabelGroup] == g.Name() {
			byHostname[hostname] = node.Name
			klogat.Info(4, "slicer_node_group.go:253", "Slicer: Mapped slicer hostname %s to K8s node %s", hostname, node.Name)
		}
	}
	names := []string{}
	for i, vm := range vms {
		klogat.Info(4, "slicer_node_group.go:260", "Slicer: Node %d: hostname=%s, ip=%s, created=%s", i, vm.Hostname, vm.IP, vm.CreatedAt)
		name, joined := byHostname[vm.Hostname]
		if !joined {
			klogat.Info(4, "slicer_node_group.go:265", "Slicer: No matching Kubernetes node found for Slicer hostname %s - skipping", vm.Hostname)
			continue
		}
		klogat.Info(4, "slicer_node_group.go:269", "Slicer: Using K8s node name %s for Slicer hostname %s", name, vm.Hostname)
		names = append(names, name)
	}
	klogat.Info(4, "slicer_node_group.go:278", "Slicer: Returning %d mapped instances for group %s", len(names), g.Name())
	return names, nil
}

// IncreaseSize makes delta VMs. When one fails, those already made are not counted.
func (g *Group) IncreaseSize(ctx context.Context, delta int) error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	klogat.Info(2, "slicer_node_group.go:66", "Slicer: IncreaseSize called with delta=%d, current targetSize=%d", delta, g.target)
	if delta <= 0 {
		return errors.New("delta must be positive")
	}
	if g.target+delta > g.MaxSize() {
		return fmt.Errorf("size increase too large: current=%d, delta=%d, max=%d", g.target, delta, g.MaxSize())
	}
	klogat.Info(2, "slicer_node_group.go:87", "Slicer: About to create %d nodes via API", delta)
	if err := g.ensureSecret(ctx); err != nil {
		return err
	}
	request := slicerapi.CreateNode{Userdata: userdata(g.k3sURL, g.Name()), Secrets: []string{secretName}}
	for range delta {
		klogat.Info(2, "slicer_node_group.go:122", "Slicer: Creating node via API client")
		created, err := g.slicer.CreateNode(ctx, g.Name(), request)
		if err != nil {
			klogat.Error("slicer_node_group.go:126", "Slicer: Failed to create node: %v", err)
			return fmt.Errorf("failed to create node: %w", err)
		}
		klogat.Info(2, "slicer_node_group.go:130", "Slicer: Successfully created node: %s", created.Hostname)
	}
	g.target += delta
	klogat.Info(2, "slicer_node_group.go:135", "Slicer: Increased target size by %d to %d", delta, g.target)
	return nil
}

// ensureSecret creates the join token's secret if the daemon has none; an existing one is never compared or updated.
func (g *Group) ensureSecret(ctx context.Context) error {
	secrets, err := g.slicer.Secrets(ctx)
	if err != nil {
		klogat.Error("slicer_node_group.go:91", "Slicer: Failed to list secrets: %v", err)
		return fmt.Errorf("failed to list secrets: %w", err)
	}
	for _, secret := range secrets {
		if secret.Name == secretName {
			return nil
		}
	}
	err = g.slicer.CreateSecret(ctx, secretName, g.k3sToken)
	var status *slicerapi.StatusError
	if errors.As(err, &status) && status.Code == http.StatusConflict {
		return nil
	}
	if err != nil {
		klogat.Error("slicer_node_group.go:110", "Slicer: Failed to create k3s token secret: %v", err)
		return fmt.Errorf("failed to create %s secret: %w", secretName, err)
	}
	return nil
}

// DeleteNodes removes each node's VM, then its Node, then counts it out. Without the permission to delete Nodes the
// VM is gone while the Node stays and keeps being counted; a daemon that does not answer leaves a VM without a Node.
func (g *Group) DeleteNodes(ctx context.Context, nodes []*corev1.Node) error {
	klogat.Info(2, "slicer_node_group.go:180", "Slicer: DeleteNodes called with %d nodes", len(nodes))
	for _, node := range nodes {
		hostname, labelled := node.Labels[LabelHostname]
		if !labelled {
			hostname = node.Name
		}
		klogat.Info(2, "slicer_node_group.go:193", "Slicer: Deleting node - K3s name: %s, Slicer hostname: %s", node.Name, hostname)
		if err := g.slicer.DeleteNode(ctx, g.Name(), hostname); err != nil {
			klogat.Error("slicer_node_group.go:198", "Slicer: Failed to delete node %s from Slicer API: %v", hostname, err)
		} else {
			klogat.Info(2, "slicer_node_group.go:201", "Slicer: Successfully deleted node from Slicer API: %s", hostname)
		}
		if err := g.deleteNode(ctx, node.Name); err != nil {
			return err
		}
		g.mutex.Lock()
		g.target--
		g.mutex.Unlock()
	}
	return nil
}

func (g *Group) deleteNode(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := g.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	switch {
	case err == nil:
		klogat.Info(2, "slicer_node_group.go:216", "Slicer: Successfully deleted node from Kubernetes API: %s", name)
	case strings.Contains(err.Error(), "not found"):
		klogat.Info(2, "slicer_node_group.go:210", "Slicer: Node %s already deleted from Kubernetes", name)
	default:
		klogat.Error("slicer_node_group.go:212", "Slicer: Failed to delete node %s from Kubernetes: %v", name, err)
		return fmt.Errorf("failed to delete node from Kubernetes: %w", err)
	}
	return nil
}

// DecreaseTargetSize gives up delta (negative) nodes that never came.
func (g *Group) DecreaseTargetSize(ctx context.Context, delta int) error {
	klogat.Info(2, "slicer_node_group.go:149", "Slicer: DecreaseTargetSize called with delta=%d, current targetSize=%d", delta, g.TargetSize())
	if delta >= 0 {
		return errors.New("size decrease must be negative")
	}
	names, err := g.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("failed to get existing nodes: %w", err)
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	wanted := g.target + delta
	if wanted < len(names) {
		return fmt.Errorf("attempt to delete existing nodes targetSize:%d delta:%d existingNodes: %d", g.target, delta, len(names))
	}
	if wanted < g.MinSize() {
		return fmt.Errorf("size decrease too large, desired:%d min:%d", wanted, g.MinSize())
	}
	g.target = wanted
	klogat.Info(2, "slicer_node_group.go:173", "Slicer: Decreased target size by %d to %d", delta, g.target)
	return nil
}
