package core

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

const scaleDownDisabled = "cluster-autoscaler.kubernetes.io/scale-down-disabled"

// removal is a node that could go, and the pods that would have to move.
type removal struct {
	node *corev1.Node
	pods []*corev1.Pod
	load float64
}

// planner remembers since when each node has been unneeded.
type planner struct {
	unneeded map[string]time.Time
	// unremovable nodes are looked at again only after this time.
	unremovable map[string]time.Time
	removals    []removal
}

func newPlanner() *planner {
	return &planner{unneeded: map[string]time.Time{}, unremovable: map[string]time.Time{}}
}

// plan finds the nodes that nobody needs.
func (a *Autoscaler) plan(seen *snapshot, now time.Time) {
	p, o := a.planner, &a.options.ScaleDown
	others := map[string]*nodeInfo{}
	for name, info := range seen.infos {
		others[name] = info.clone()
	}
	unneeded := map[string]time.Time{}
	p.removals = nil
	for _, node := range seen.nodes {
		group := a.provider.GroupOf(node)
		if group == nil || a.deleter.busy(node.Name) {
			continue
		}
		if until, known := p.unremovable[node.Name]; known && now.Before(until) {
			continue
		}
		delete(p.unremovable, node.Name)
		found, reason, remember := a.removalOf(seen.infos[node.Name], seen, others, now)
		if reason != "" {
			klog.V(4).Infof("Node %s unremovable: %s", node.Name, reason)
			if remember {
				p.unremovable[node.Name] = now.Add(o.UnremovableRecheck)
			}
			continue
		}
		since, known := p.unneeded[node.Name]
		if !known {
			since = now
		}
		unneeded[node.Name] = since
		klog.V(1).Infof("%s is unneeded since %s duration %s", node.Name, since.Format(time.RFC3339), now.Sub(since))
		p.removals = append(p.removals, found)
		delete(others, node.Name)
	}
	p.unneeded = unneeded
}

// removalOf judges one node. Where its pods could move to is kept in others. A reason that costs much to find out is
// to be remembered for a while.
func (a *Autoscaler) removalOf(info *nodeInfo, seen *snapshot, others map[string]*nodeInfo, now time.Time) (removal, string, bool) {
	o := &a.options.ScaleDown
	node := info.node
	if node.Annotations[scaleDownDisabled] == "true" {
		return removal{}, "marked as no scale down", false
	}
	if !isReady(node) && !o.UnreadyEnabled {
		return removal{}, "scale-down of unready nodes is disabled", false
	}
	load, which := utilization(info, o.IgnoreDaemonSets)
	if load >= o.Threshold {
		return removal{}, fmt.Sprintf("%s requested (%.4g%% of allocatable) is above the scale-down utilization threshold", which, load*100), false
	}
	pods, reason := podsToMove(info, seen.budgets, o, now)
	if reason != "" {
		return removal{}, reason, true
	}
	tried := map[string]*nodeInfo{}
	for _, pod := range biggestFirst(pods) {
		if !a.moves(pod, node.Name, seen, others, tried) {
			return removal{}, fmt.Sprintf("no place to move pod %s", podLabel(pod)), true
		}
	}
	for name, changed := range tried {
		others[name] = changed
	}
	return removal{node: node, pods: pods, load: load}, "", false
}

func (a *Autoscaler) moves(pod *corev1.Pod, from string, seen *snapshot, others, tried map[string]*nodeInfo) bool {
	for _, candidate := range seen.nodes {
		name := candidate.Name
		if name == from || others[name] == nil || !isReady(candidate) || a.deleter.busy(name) {
			continue
		}
		target := tried[name]
		if target == nil {
			target = others[name].clone()
		}
		if target.misfit(pod) == "" {
			target.add(pod)
			tried[name] = target
			return true
		}
	}
	return false
}

// scaleDown starts the deletion of nodes that have been unneeded for long enough.
func (a *Autoscaler) scaleDown(ctx context.Context, now time.Time) {
	o := &a.options.ScaleDown
	deleted, failed := a.deleter.last()
	cooldown := a.lastScaleUp.Add(o.DelayAfterAdd).After(now) ||
		deleted.Add(o.DelayAfterDelete).After(now) || failed.Add(o.DelayAfterFail).After(now)
	klog.V(4).Infof("Scale down status: lastScaleUpTime=%s lastScaleDownDeleteTime=%s lastScaleDownFailTime=%s scaleDownInCooldown=%v",
		a.lastScaleUp.Format(time.RFC3339), deleted.Format(time.RFC3339), failed.Format(time.RFC3339), cooldown)
	if cooldown {
		return
	}
	var empty, drained []removal
	for _, found := range a.planner.removals {
		wait := o.UnneededTime
		if !isReady(found.node) {
			wait = o.UnreadyTime
		}
		unneeded := now.Sub(a.planner.unneeded[found.node.Name])
		klog.V(1).Infof("%s was unneeded for %s", found.node.Name, unneeded)
		switch {
		case unneeded < wait:
		case len(found.pods) == 0:
			empty = append(empty, found)
		default:
			drained = append(drained, found)
		}
	}
	started := 0
	for _, found := range empty {
		if a.deleter.running(false) < o.MaxParallelism && a.aboveMinimum(found) {
			a.deleter.start(ctx, a, found)
			started++
		}
	}
	for _, found := range drained {
		if started == 0 && a.deleter.running(true) < o.MaxDrainParallelism && a.aboveMinimum(found) {
			a.deleter.start(ctx, a, found)
		}
	}
	if started == 0 && len(empty)+len(drained) == 0 {
		klog.V(1).Info("No candidates for scale down")
	}
}

func (a *Autoscaler) aboveMinimum(found removal) bool {
	group := a.provider.GroupOf(found.node)
	current := group.TargetSize() - a.deleter.runningIn(group.Name())
	if current <= group.MinSize() {
		klog.V(1).Infof("Skipping %s - node group min size reached (current: %d, min: %d)", found.node.Name, current, group.MinSize())
		return false
	}
	return true
}
