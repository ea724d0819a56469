// Package core decides when nodes are added and removed. It goes through the original's steps one by one and says what
// the original says, at the original's place: what is in a loop's log, how often and at which level, is part of what
// users of the autoscaler rely on.
//
// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler.
package core

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// newPods is how young pods may be so that more of them are waited for.
const newPods = 2 * time.Second

// Autoscaler watches one cluster.
type Autoscaler struct {
	client   kubernetes.Interface
	source   Source
	provider *provider.Provider
	options  *options.Options
	recorder record.EventRecorder
	expander expander

	registry   *registry
	planner    *planner
	deleter    *deleter
	status     *StatusMap
	seenNodes  map[string]*nodeInfo
	background sync.WaitGroup
	cleaned    bool

	lastScaleUp, lastScaleDown, lastScaleDownFail time.Time
	// scaleDownForbidden is for one loop.
	scaleDownForbidden bool
}

// New puts an autoscaler together; it fails when the expander cannot work with this provider.
func New(client kubernetes.Interface, source Source, p *provider.Provider, o *options.Options, recorder record.EventRecorder, status *StatusMap) (*Autoscaler, error) {
	// As if these had been an hour ago, so that no pause is kept at the start.
	before := time.Now().Add(-time.Hour)
	a := &Autoscaler{
		client: client, source: source, provider: p, options: o, recorder: recorder, status: status,
		planner: newPlanner(), deleter: newDeleter(), seenNodes: map[string]*nodeInfo{},
		lastScaleUp: before, lastScaleDown: before, lastScaleDownFail: before,
	}
	chosen, err := newExpander(o.Expander, &byPriority{client: client, namespace: o.Namespace, recorder: recorder})
	if err != nil {
		return nil, err
	}
	a.expander = chosen
	a.registry = newRegistry(o, p, status)
	klogat.Info(4, "static_autoscaler.go:146", "Creating new static autoscaler with opts: %v", *o)
	return a, nil
}

// Start begins to read the groups' instances again and again in the background.
func (a *Autoscaler) Start(ctx context.Context) { go a.registry.instances.keep(ctx) }

// RunOnce looks at the cluster once and acts. Deletions go on after it returns.
func (a *Autoscaler) RunOnce(ctx context.Context, now time.Time) error {
	a.cleanUp(ctx)
	a.scaleDownForbidden = false
	klogat.Info(4, "static_autoscaler.go:270", "Starting main loop")
	seen, err := takeSnapshot(a.source)
	if err != nil {
		return err
	}
	seen.report()
	// Without any group this ends the program, as it does the original: a cloud-config needs at least one.
	klogat.Print("Target size: %d\n", a.provider.Groups()[0].TargetSize())
	deleting := a.deleter.active()
	templates := a.templates(ctx, seen, now)
	if err := a.registry.update(ctx, seen.nodes, now); err != nil {
		klogat.Error("static_autoscaler.go:1038", "Failed to update node registry: %v", err)
		a.planner.forget()
		klogat.Error("static_autoscaler.go:367", "Failed to update cluster state: %v", err)
		return fmt.Errorf("failed to update node registry: %w", err)
	}
	defer a.finish(ctx, now)
	a.reportUnregistered()
	if !a.registry.clusterHealthy() {
		klogat.Warning("static_autoscaler.go:425", "Cluster is not ready for autoscaling")
		a.planner.forget()
		a.status.event(corev1.EventTypeWarning, "ClusterUnhealthy", "Cluster is unhealthy")
		return nil
	}
	fixed, err := a.registry.fixSizes(ctx, now)
	if err != nil {
		klogat.Error("static_autoscaler.go:438", "Failed to fix node group sizes: %v", err)
		return err
	}
	if fixed {
		klogat.Info(0, "static_autoscaler.go:442", "Some node group target size was fixed, skipping the iteration")
		return nil
	}
	a.scaleUpFor(ctx, seen, templates, now)
	if a.options.ScaleDown.Enabled {
		if err := a.scaleDown(ctx, seen, deleting, now); err != nil {
			return err
		}
	}
	if a.options.EnforceMinSize {
		a.growToMinimum(ctx, seen, templates, now)
	}
	return nil
}

// finish shows what a loop found, whatever became of it.
func (a *Autoscaler) finish(ctx context.Context, now time.Time) {
	if a.options.WriteStatus {
		a.status.write(ctx, a.currentStatus(now), now)
	}
	for _, node := range a.planner.unremovable {
		a.provider.GroupOf(node)
	}
}

// reportUnregistered tells of VMs that seem to have no Node. With this provider each one that has a Node seems so,
// as its id is no provider id of a Node: harmless, and in every log.
func (a *Autoscaler) reportUnregistered() {
	if len(a.registry.unregistered) == 0 {
		return
	}
	klogat.Info(1, "static_autoscaler.go:412", "%d unregistered nodes present", len(a.registry.unregistered))
	for _, name := range a.registry.unregistered {
		if a.provider.GroupOf(named(name)) == nil {
			klogat.Warning("static_autoscaler.go:841", "No node group for node %s, skipping", name)
		}
	}
}

// scaleUpFor looks for pods that need more nodes, and adds these. A failure does not end the loop.
func (a *Autoscaler) scaleUpFor(ctx context.Context, seen *snapshot, templates map[string]*nodeInfo, now time.Time) {
	pods := important(seen.pending, a.options.PriorityCutoff)
	pods = oldEnough(a.unhelped(pods, seen, templates), a.options.NewPodScaleUpDelay, now)
	switch {
	case len(pods) == 0:
		klogat.Info(1, "static_autoscaler.go:527", "No unschedulable pods")
	case a.options.MaxNodesTotal > 0 && seen.ready() >= a.options.MaxNodesTotal:
		klogat.Warning("static_autoscaler.go:531", "Max total nodes in cluster reached: %v. Current number of ready nodes: %v",
			a.options.MaxNodesTotal, seen.ready())
		a.status.event(corev1.EventTypeWarning, "MaxNodesTotalReached", "Max total nodes in cluster reached: %v", a.options.MaxNodesTotal)
		for _, pod := range pods {
			a.recorder.Event(pod, corev1.EventTypeNormal, "NotTriggerScaleUp", "pod didn't trigger scale-up: max total nodes in cluster reached")
		}
	case oldest(pods).Add(newPods).After(now):
		a.scaleDownForbidden = true
		klogat.Info(1, "static_autoscaler.go:553", "Unschedulable pods are very new, waiting one iteration for more")
	default:
		grew, err := a.scaleUp(ctx, pods, seen, templates, now)
		if err != nil {
			klogat.Error("static_autoscaler.go:513", "Failed to scale up: %v", err)
		}
		if grew {
			a.lastScaleUp = now
		}
	}
}

func oldest(pods []*corev1.Pod) time.Time {
	first := pods[0].CreationTimestamp.Time
	for _, pod := range pods {
		if pod.CreationTimestamp.Time.Before(first) {
			first = pod.CreationTimestamp.Time
		}
	}
	return first
}

// cleanUp takes away, once, the marks of deletions that an earlier run did not finish.
func (a *Autoscaler) cleanUp(ctx context.Context) {
	if a.cleaned {
		return
	}
	a.cleaned = true
	nodes, err := a.source.Nodes()
	if err != nil {
		klogat.Error("static_autoscaler.go:229", "Failed to list ready nodes, not cleaning up taints: %v", err)
		return
	}
	for _, node := range nodes {
		if a.provider.GroupOf(node) == nil || !hasTaint(node, toBeDeleted) {
			continue
		}
		if err := clearTaint(ctx, a.client, node, toBeDeleted); err != nil {
			a.recorder.Eventf(node, corev1.EventTypeWarning, "ClusterAutoscalerCleanup", "failed to clean %v on node %v: %v", toBeDeleted, node.Name, err)
			continue
		}
		a.recorder.Eventf(node, corev1.EventTypeNormal, "ClusterAutoscalerCleanup", "removed %v taint from node %v", toBeDeleted, node.Name)
	}
}
