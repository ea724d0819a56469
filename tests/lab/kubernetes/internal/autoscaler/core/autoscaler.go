// Package core decides when nodes are added and removed.
package core

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// Autoscaler watches one cluster.
type Autoscaler struct {
	client   kubernetes.Interface
	provider *provider.Provider
	options  *options.Options
	recorder record.EventRecorder
	expander expander

	registry    *registry
	planner     *planner
	deleter     *deleter
	background  sync.WaitGroup
	lastScaleUp time.Time
	cleaned     bool
}

// New puts an autoscaler together; it fails when the expander cannot work with this provider.
func New(client kubernetes.Interface, p *provider.Provider, o *options.Options, recorder record.EventRecorder) (*Autoscaler, error) {
	a := &Autoscaler{client: client, provider: p, options: o, recorder: recorder, planner: newPlanner(), deleter: newDeleter()}
	chosen, err := newExpander(o.Expander, &byPriority{client: client, namespace: o.Namespace, warn: a.warning})
	if err != nil {
		return nil, err
	}
	a.expander = chosen
	a.registry = newRegistry(o, p, a.warning)
	return a, nil
}

func (a *Autoscaler) warning(reason, format string, args ...any) {
	a.statusEvent(corev1.EventTypeWarning, reason, format, args...)
}

// RunOnce looks at the cluster once and acts. Deletions go on after it returns.
func (a *Autoscaler) RunOnce(ctx context.Context, now time.Time) error {
	klog.V(4).Info("Starting main loop")
	// Without any group this ends the program, as it does the original: a cloud-config needs at least one.
	klog.V(5).Infof("First node group: %s", a.provider.Groups()[0].Name())
	seen, err := takeSnapshot(ctx, a.client)
	if err != nil {
		return err
	}
	if len(seen.nodes) == 0 {
		klog.Warning("Cluster has no ready nodes.")
		return nil
	}
	a.cleanUp(ctx, seen)
	templates := a.templates(ctx, seen)
	if err := a.registry.update(ctx, seen.nodes, now); err != nil {
		klog.Errorf("Failed to update node registry: %v", err)
		return fmt.Errorf("failed to update node registry: %w", err)
	}
	a.writeStatus(ctx, now)
	if !a.registry.clusterHealthy() {
		klog.Warning("Cluster is not ready for autoscaling")
		a.statusEvent(corev1.EventTypeWarning, "ClusterUnhealthy", "Cluster is unhealthy")
		return nil
	}
	if err := a.registry.fixSizes(ctx, now); err != nil {
		klog.Errorf("Failed to fix node group sizes: %v", err)
		return err
	}
	pods := worthy(seen.pending, a.options.PriorityCutoff, a.options.NewPodScaleUpDelay, now)
	pods = a.unhelped(pods, seen, templates)
	grew, err := a.scaleUpFor(ctx, pods, seen, templates, now)
	if err != nil {
		klog.Errorf("Failed to scale up: %v", err)
		return err
	}
	if grew {
		return nil
	}
	if a.options.ScaleDown.Enabled {
		a.plan(seen, now)
		a.scaleDown(ctx, now)
	}
	return nil
}

func (a *Autoscaler) scaleUpFor(ctx context.Context, pods []*corev1.Pod, seen *snapshot, templates map[string]*nodeInfo, now time.Time) (bool, error) {
	if len(pods) == 0 {
		klog.V(1).Info("No unschedulable pods")
	} else if grew, err := a.scaleUp(ctx, pods, seen, templates, now); grew || err != nil {
		return grew, err
	}
	if a.options.EnforceMinSize {
		return a.growToMinimum(ctx, now)
	}
	return false, nil
}

// cleanUp takes away, once, the marks of deletions that an earlier leader did not finish.
func (a *Autoscaler) cleanUp(ctx context.Context, seen *snapshot) {
	if a.cleaned {
		return
	}
	a.cleaned = true
	for _, node := range seen.nodes {
		if !isMarked(node) {
			continue
		}
		if err := mark(ctx, a.client, node.Name, false); err != nil {
			klog.Errorf("Failed to remove the deletion taint of node %s: %v", node.Name, err)
			continue
		}
		klog.V(1).Infof("Removed the deletion taint of node %s", node.Name)
	}
}
