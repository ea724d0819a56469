package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

const scaleDownDisabled = "cluster-autoscaler.kubernetes.io/scale-down-disabled"

// removal is a node that could go, and the pods that would have to move.
type removal struct {
	node  *corev1.Node
	group *provider.Group
	pods  []*corev1.Pod
	load  usage
	since time.Time
}

// planner remembers since when each node has been unneeded.
type planner struct {
	unneeded map[string]removal
	// recheck is when nodes that were found unremovable are looked at again.
	recheck map[string]time.Time
	// unremovable are the nodes that may not go in this loop.
	unremovable []*corev1.Node
}

func newPlanner() *planner {
	return &planner{unneeded: map[string]removal{}, recheck: map[string]time.Time{}}
}

// forget drops what is known of unneeded nodes.
func (p *planner) forget() { p.unneeded = map[string]removal{} }

// names are the unneeded nodes in the order of their names.
func (p *planner) names() []string {
	var names []string
	for name := range p.unneeded {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// scaleDown finds the nodes that nobody needs and starts the deletion of those that have been so for long enough.
// Deleting are the nodes that were being deleted when the loop began.
func (a *Autoscaler) scaleDown(ctx context.Context, seen *snapshot, deleting map[string]deletion, now time.Time) error {
	klogat.Info(4, "static_autoscaler.go:566", "Calculating unneeded nodes")
	var starting []string
	for _, group := range a.provider.Groups() {
		_, names := a.registry.upcoming(group.Name())
		starting = append(starting, names...)
	}
	nodes := seen.without(starting)
	candidates := a.candidates(nodes)
	a.plan(candidates, nodes, seen, deleting, now)
	var unneeded []*corev1.Node
	for _, name := range a.planner.names() {
		unneeded = append(unneeded, a.planner.unneeded[name].node)
	}
	a.registry.setCandidates(unneeded, now)
	o := &a.options.ScaleDown
	cooldown := a.scaleDownForbidden || a.lastScaleUp.Add(o.DelayAfterAdd).After(now) ||
		a.lastScaleDownFail.Add(o.DelayAfterFail).After(now) || a.lastScaleDown.Add(o.DelayAfterDelete).After(now)
	klogat.Info(4, "static_autoscaler.go:609",
		"Scale down status: lastScaleUpTime=%s lastScaleDownDeleteTime=%v lastScaleDownFailTime=%s scaleDownForbidden=%v scaleDownInCooldown=%v",
		a.lastScaleUp, a.lastScaleDown, a.lastScaleDownFail, a.scaleDownForbidden, cooldown)
	switch {
	case cooldown:
	case len(candidates) == 0:
		klogat.Info(4, "static_autoscaler.go:631", "Starting scale down: no scale down candidates. skipping...")
	default:
		klogat.Info(4, "static_autoscaler.go:636", "Starting scale down")
		empty, drained := a.removable(deleting, now)
		started, err := a.startDeletion(ctx, empty, drained, deleting, seen)
		if started {
			a.lastScaleDown = now
			a.registry.updateRanges()
		}
		if err != nil {
			a.markCandidates(ctx, nodes)
			klogat.Error("static_autoscaler.go:655", "Failed to scale down: %v", err)
			a.lastScaleDownFail = now
			return err
		}
	}
	a.markCandidates(ctx, nodes)
	return nil
}

// candidates are the nodes of groups that are above their minimum.
func (a *Autoscaler) candidates(nodes []*corev1.Node) []*corev1.Node {
	var found []*corev1.Node
	for _, node := range nodes {
		group := a.provider.GroupOf(node)
		if group == nil {
			continue
		}
		if size := group.TargetSize(); size <= group.MinSize() {
			klogat.Info(1, "pre_filtering_processor.go:67", "Skipping %s - node group min size reached (current: %d, min: %d)", node.Name, size, group.MinSize())
			continue
		}
		found = append(found, node)
	}
	return found
}

// plan finds the nodes that nobody needs.
func (a *Autoscaler) plan(candidates, destinations []*corev1.Node, seen *snapshot, deleting map[string]deletion, now time.Time) {
	p, o := a.planner, &a.options.ScaleDown
	others := map[string]*nodeInfo{}
	for _, node := range destinations {
		if _, going := deleting[node.Name]; !going {
			others[node.Name] = seen.infos[node.Name].clone()
		}
	}
	p.unremovable = nil
	var likely []removal
	skipped := 0
	quota := klogat.NewQuota()
	for _, node := range a.sorted(candidates, seen, now) {
		if _, going := deleting[node.Name]; going {
			continue
		}
		if now.Before(p.recheck[node.Name]) {
			p.unremovable = append(p.unremovable, node)
			skipped++
			continue
		}
		delete(p.recheck, node.Name)
		found, eligible := a.eligible(seen.infos[node.Name], quota)
		if !eligible {
			p.unremovable = append(p.unremovable, node)
			continue
		}
		likely = append(likely, found)
	}
	if skipped > 0 {
		klogat.Info(1, "eligibility.go:104", "Scale-down calculation: ignoring %v nodes unremovable in the last %v", skipped, o.UnremovableRecheck)
	}
	unneeded, unremovable := map[string]removal{}, 0
	for _, found := range likely {
		name := found.node.Name
		if !a.simulate(&found, seen, others, now) {
			unremovable++
			p.recheck[name] = now.Add(o.UnremovableRecheck)
			p.unremovable = append(p.unremovable, found.node)
			continue
		}
		delete(others, name)
		a.provider.GroupOf(found.node)
		found.since = now
		if before, known := p.unneeded[name]; known {
			found.since = before.since
		}
		unneeded[name] = found
	}
	p.unneeded = unneeded
	for _, name := range p.names() {
		since := unneeded[name].since
		klogat.Info(4, "nodes.go:153", "%s is unneeded since %s duration %s", name, since, now.Sub(since))
	}
	if unremovable > 0 {
		klogat.Info(1, "planner.go:323", "%v nodes found to be unremovable in simulation, will re-check them at %v", unremovable, now.Add(o.UnremovableRecheck))
	}
}

// sorted puts empty nodes first, then those that were unneeded before.
func (a *Autoscaler) sorted(nodes []*corev1.Node, seen *snapshot, now time.Time) []*corev1.Node {
	rank := func(node *corev1.Node) int {
		if pods, reason := podsToMove(seen.infos[node.Name], seen.budgets, &a.options.ScaleDown, now); reason == "" && len(pods) == 0 {
			return 0
		}
		if _, known := a.planner.unneeded[node.Name]; known {
			return 1
		}
		return 2
	}
	sorted := slices.Clone(nodes)
	slices.SortStableFunc(sorted, func(one, other *corev1.Node) int { return cmp.Compare(rank(one), rank(other)) })
	return sorted
}

// eligible tells whether a node is idle enough to go.
func (a *Autoscaler) eligible(info *nodeInfo, quota *klogat.Quota) (removal, bool) {
	o, node := &a.options.ScaleDown, info.node
	if hasTaint(node, toBeDeleted) {
		klogat.Info(1, "eligibility.go:113", "Skipping %s from delete consideration - the node is currently being deleted", node.Name)
		return removal{}, false
	}
	if node.Annotations[scaleDownDisabled] == "true" {
		klogat.Info(1, "eligibility.go:119", "Skipping %s from delete consideration - the node is marked as no scale down", node.Name)
		return removal{}, false
	}
	group := a.provider.GroupOf(node)
	load := utilization(info, o.IgnoreDaemonSets)
	if !isReady(node) && !o.UnreadyEnabled {
		klogat.Info(4, "eligibility.go:152", "Skipping unready node %s from delete consideration - scale-down of unready nodes is disabled", node.Name)
		return removal{}, false
	}
	if load.Highest >= o.Threshold {
		klogat.Info(4, "eligibility.go:163", "Node %s unremovable: %s requested (%.6g%% of allocatable) is above the scale-down utilization threshold",
			node.Name, load.Resource, load.Highest*100)
		return removal{}, false
	}
	quota.Info(4, "Node %s - %s requested is %.6g%% of allocatable", node.Name, load.Resource, load.Highest*100)
	return removal{node: node, group: group, load: load}, true
}

// simulate tells whether a node's pods can move, and keeps in others where to.
func (a *Autoscaler) simulate(found *removal, seen *snapshot, others map[string]*nodeInfo, now time.Time) bool {
	name := found.node.Name
	klogat.Info(2, "cluster.go:142", "Simulating node %s removal", name)
	pods, reason := podsToMove(seen.infos[name], seen.budgets, &a.options.ScaleDown, now)
	if reason != "" {
		klogat.Info(2, "cluster.go:146", "Node %s cannot be removed: %s", name, reason)
		return false
	}
	quota, tried, moved := klogat.NewQuota(), map[string]*nodeInfo{}, 0
	for _, pod := range pods {
		target := a.moves(pod, name, seen, others, tried)
		if target == "" {
			quota.Info(4, "failed to find place for %s: can't schedule pod %s: couldn't find a matching Node with passing predicates", podLabel(pod), podLabel(pod))
			break
		}
		moved++
		quota.Info(4, "Pod %s can be moved to %s", podLabel(pod), target)
	}
	quota.Rest(4, "There were also %v other logs from HintingSimulator.TrySchedulePods func that were capped.")
	if moved < len(pods) {
		klogat.Info(2, "cluster.go:157", "Node %s is not suitable for removal: can reschedule only %d out of %d pods", name, moved, len(pods))
		return false
	}
	for target, changed := range tried {
		others[target] = changed
	}
	klogat.Info(2, "cluster.go:160", "Node %s may be removed", name)
	found.pods = pods
	return true
}

func (a *Autoscaler) moves(pod *corev1.Pod, from string, seen *snapshot, others, tried map[string]*nodeInfo) string {
	for _, candidate := range seen.nodes {
		name := candidate.Name
		if name == from || others[name] == nil || !isReady(candidate) {
			continue
		}
		target := tried[name]
		if target == nil {
			target = others[name].clone()
		}
		if target.fits(pod) {
			target.add(pod)
			tried[name] = target
			return name
		}
	}
	return ""
}

// removable are the nodes that have been unneeded for long enough, empty ones apart.
func (a *Autoscaler) removable(deleting map[string]deletion, now time.Time) (empty, drained []removal) {
	o, sizes := &a.options.ScaleDown, map[string]int{}
	for _, group := range a.provider.Groups() {
		sizes[group.Name()] = group.TargetSize()
	}
	for _, one := range deleting {
		sizes[one.group]--
	}
	for _, name := range a.planner.names() {
		found := a.planner.unneeded[name]
		klogat.Info(2, "nodes.go:194", "%s was unneeded for %s", name, now.Sub(found.since))
		a.provider.GroupOf(found.node)
		wait := o.UnneededTime
		if !isReady(found.node) {
			wait = o.UnreadyTime
		}
		reached := sizes[found.group.Name()] <= found.group.MinSize()
		switch {
		case !found.since.Add(wait).Before(now):
			a.planner.unremovable = append(a.planner.unremovable, found.node)
			continue
		case reached:
			klogat.Info(1, "nodes.go:304", "Skipping %s - node group min size reached", name)
			a.planner.unremovable = append(a.planner.unremovable, found.node)
			continue
		}
		sizes[found.group.Name()]--
		if len(found.pods) == 0 {
			empty = append(empty, found)
		} else {
			drained = append(drained, found)
		}
	}
	for _, found := range slices.Concat(empty, drained) {
		a.provider.GroupOf(found.node)
		klogat.NewQuota().Info(2, "Considering node %s for standard scale down", found.node.Name)
	}
	return empty, drained
}

// startDeletion begins with as many deletions as may go on at once. It fails where nodes cannot be marked.
func (a *Autoscaler) startDeletion(ctx context.Context, empty, drained []removal, deleting map[string]deletion, seen *snapshot) (bool, error) {
	for _, found := range slices.Concat(empty, drained) {
		a.provider.GroupOf(found.node)
	}
	o, draining := &a.options.ScaleDown, 0
	for _, one := range deleting {
		if one.drain {
			draining++
		}
	}
	room := max(o.MaxParallelism-len(deleting), 0)
	empty = empty[:min(len(empty), room)]
	room = max(min(room-len(empty), o.MaxDrainParallelism-draining), 0)
	drained = drained[:min(len(drained), room)]
	for _, batch := range [][]removal{empty, drained} {
		if err := a.mark(ctx, batch); err != nil {
			return false, err
		}
		for _, found := range batch {
			a.deleter.start(ctx, a, found, seen)
		}
	}
	return len(empty)+len(drained) > 0, nil
}

// mark taints all nodes that are to go, or none.
func (a *Autoscaler) mark(ctx context.Context, batch []removal) error {
	var failures []error
	for _, found := range batch {
		if err := addTaint(ctx, a.client, found.node, toBeDeleted); err != nil {
			a.recorder.Eventf(found.node, corev1.EventTypeWarning, "ScaleDownFailed", "failed to mark the node as toBeDeleted/unschedulable: %v", err)
			failures = append(failures, err)
			continue
		}
		a.recorder.Eventf(found.node, corev1.EventTypeNormal, "ScaleDown", "marked the node as toBeDeleted/unschedulable")
	}
	if len(failures) == 0 {
		return nil
	}
	for _, found := range batch {
		if err := clearTaint(ctx, a.client, found.node, toBeDeleted); err != nil {
			failures = append(failures, err)
		}
	}
	return fmt.Errorf("couldn't taint %d nodes with ToBeDeleted: %w", len(failures), errors.Join(failures...))
}
