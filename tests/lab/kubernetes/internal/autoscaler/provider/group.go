package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/cloudconfig"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicerapi"
)

// Group is a node group backed by a Slicer host group.
type Group struct {
	config           cloudconfig.Group
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
	vms, err := g.slicer.Nodes(ctx, g.Name())
	if err != nil {
		return nil, fmt.Errorf("failed to list nodes of host group %s: %w", g.Name(), err)
	}
	byHostname, err := nodesByHostname(ctx, g.client, g.Name())
	if err != nil {
		return nil, fmt.Errorf("failed to list Kubernetes nodes of host group %s: %w", g.Name(), err)
	}
	var names []string
	for _, vm := range vms {
		node, joined := byHostname[vm.Hostname]
		if !joined {
			klog.V(4).Infof("VM %s of host group %s has no Kubernetes node", vm.Hostname, g.Name())
			continue
		}
		names = append(names, node.Name)
	}
	return names, nil
}

// IncreaseSize makes delta VMs. When one fails, those already made are not counted.
func (g *Group) IncreaseSize(ctx context.Context, delta int) error {
	if delta <= 0 {
		return fmt.Errorf("delta must be positive, have: %d", delta)
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.target+delta > g.MaxSize() {
		return fmt.Errorf("size increase is too large. current: %d desired: %d max: %d", g.target, g.target+delta, g.MaxSize())
	}
	if err := g.ensureSecret(ctx); err != nil {
		return err
	}
	request := slicerapi.CreateNode{Userdata: userdata(g.k3sURL, g.Name()), Secrets: []string{secretName}}
	for range delta {
		created, err := g.slicer.CreateNode(ctx, g.Name(), request)
		if err != nil {
			return fmt.Errorf("failed to create node in host group %s: %w", g.Name(), err)
		}
		klog.V(1).Infof("Created VM %s in host group %s", created.Hostname, g.Name())
	}
	g.target += delta
	return nil
}

// ensureSecret creates the join token's secret if the daemon has none; an existing one is never compared or updated.
func (g *Group) ensureSecret(ctx context.Context) error {
	secrets, err := g.slicer.Secrets(ctx)
	if err != nil {
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
		return fmt.Errorf("failed to create secret %s: %w", secretName, err)
	}
	return nil
}

// DeleteNodes removes each node's VM, then its Node, then counts it out. Without the permission to delete Nodes the
// VM is gone while the Node stays and keeps being counted.
func (g *Group) DeleteNodes(ctx context.Context, nodes []*corev1.Node) error {
	for _, node := range nodes {
		hostname := node.Labels[LabelHostname]
		if err := g.slicer.DeleteNode(ctx, g.Name(), hostname); err != nil {
			klog.Errorf("Failed to delete VM %s from host group %s: %v", hostname, g.Name(), err)
		}
		if err := g.client.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{}); err != nil {
			klog.Errorf("Failed to delete node %s from Kubernetes: %v", node.Name, err)
			return fmt.Errorf("failed to delete node %s from Kubernetes: %w", node.Name, err)
		}
		g.mutex.Lock()
		g.target--
		g.mutex.Unlock()
	}
	return nil
}

// DecreaseTargetSize gives up delta (negative) nodes that never came.
func (g *Group) DecreaseTargetSize(ctx context.Context, delta int) error {
	if delta >= 0 {
		return fmt.Errorf("size decrease must be negative, have: %d", delta)
	}
	names, err := g.Nodes(ctx)
	if err != nil {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	wanted := g.target + delta
	if wanted < len(names) {
		return fmt.Errorf("attempt to delete existing nodes, target: %d delta: %d existing: %d", g.target, delta, len(names))
	}
	if wanted < g.MinSize() {
		return fmt.Errorf("size decrease too large, target: %d delta: %d min: %d", g.target, delta, g.MinSize())
	}
	g.target = wanted
	return nil
}
