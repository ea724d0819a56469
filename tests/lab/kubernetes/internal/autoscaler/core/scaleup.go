package core

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// groupView is a group as one loop sees it.
type groupView struct {
	*provider.Group
	template *nodeInfo
}

// unhelped leaves out the pods that fit on nodes that exist or are on their way: the scheduler will get to them.
func (a *Autoscaler) unhelped(pods []*corev1.Pod, seen *snapshot, templates map[string]*nodeInfo) []*corev1.Pod {
	var targets []*nodeInfo
	for _, node := range seen.nodes {
		if isReady(node) {
			targets = append(targets, seen.infos[node.Name].clone())
		}
	}
	for _, group := range a.provider.Groups() {
		template := templates[group.Name()]
		if template == nil {
			continue
		}
		for range a.registry.upcoming(group.Name()) {
			targets = append(targets, template.clone())
		}
	}
	var left []*corev1.Pod
	for _, pod := range biggestFirst(pods) {
		if !place(pod, targets) {
			left = append(left, pod)
		}
	}
	if len(left) < len(pods) {
		klog.V(4).Infof("%d pods marked as unschedulable can be scheduled.", len(pods)-len(left))
	}
	return left
}

func place(pod *corev1.Pod, targets []*nodeInfo) bool {
	for _, target := range targets {
		if target.misfit(pod) == "" {
			target.add(pod)
			return true
		}
	}
	return false
}

func biggestFirst(pods []*corev1.Pod) []*corev1.Pod {
	sorted := slices.Clone(pods)
	slices.SortStableFunc(sorted, func(one, other *corev1.Pod) int {
		left, right := requests(one), requests(other)
		return cmp.Or(
			cmp.Compare(right[corev1.ResourceCPU], left[corev1.ResourceCPU]),
			cmp.Compare(right[corev1.ResourceMemory], left[corev1.ResourceMemory]),
		)
	})
	return sorted
}

// scaleUp grows one group for the pods, and tells the others why not. It reports whether a group grew.
func (a *Autoscaler) scaleUp(ctx context.Context, pods []*corev1.Pod, seen *snapshot, templates map[string]*nodeInfo, now time.Time) (bool, error) {
	for _, pod := range pods {
		klog.V(1).Infof("Pod %s is unschedulable", podLabel(pod))
	}
	options, skipped := a.scaleUpOptions(pods, templates, now)
	if len(options) == 0 {
		klog.V(1).Info("No expansion options")
		a.reportUnhelped(pods, nil, skipped, templates)
		return false, nil
	}
	chosen, found := a.expander(options)
	if !found {
		klog.V(1).Info("No expansion option chosen")
		a.reportUnhelped(pods, nil, skipped, templates)
		return false, nil
	}
	klog.V(1).Infof("Best option to resize: %s", chosen.group.Name())
	klog.V(1).Infof("Estimated %d nodes needed in %s", chosen.nodes, chosen.group.Name())
	count := chosen.nodes
	if total := a.options.MaxNodesTotal; total > 0 {
		current := len(seen.nodes)
		for _, group := range a.provider.Groups() {
			current += a.registry.upcoming(group.Name())
		}
		if current+count > total {
			count = total - current
			klog.V(1).Infof("Capping size to max cluster total size (%d)", total)
		}
		if count < 1 {
			klog.V(1).Info("Max total nodes in cluster reached")
			a.reportUnhelped(pods, nil, skipped, templates)
			return false, nil
		}
	}
	target := chosen.group.TargetSize()
	if room := chosen.group.MaxSize() - target; count > room {
		klog.V(1).Infof("Capping scale-up size to max size of %s: %d instead of %d", chosen.group.Name(), room, count)
		count = room
	}
	plan := fmt.Sprintf("[{%s %d->%d (max: %d)}]", chosen.group.Name(), target, target+count, chosen.group.MaxSize())
	klog.V(1).Infof("Final scale-up plan: %s", plan)
	if err := a.grow(ctx, chosen.group.Group, count, now); err != nil {
		return false, err
	}
	for _, pod := range chosen.pods {
		a.recorder.Eventf(pod, corev1.EventTypeNormal, "TriggeredScaleUp", "pod triggered scale-up: %s", plan)
	}
	a.reportUnhelped(pods, chosen.pods, skipped, templates)
	return true, nil
}

// scaleUpOptions works out what each group could do, and for the others the reason why they are not asked.
func (a *Autoscaler) scaleUpOptions(pods []*corev1.Pod, templates map[string]*nodeInfo, now time.Time) ([]option, map[string]string) {
	var options []option
	skipped := map[string]string{}
	for _, group := range a.provider.Groups() {
		name := group.Name()
		switch {
		case !a.registry.groupHealthy(name):
			klog.Warningf("Node group %s is not ready for scaleup - unhealthy", name)
			skipped[name] = "not ready for scale-up"
			continue
		case a.registry.backoff.active(name, now):
			klog.Warningf("Node group %s is not ready for scaleup - backoff", name)
			skipped[name] = "in backoff after failed scale-up"
			continue
		case group.TargetSize() >= group.MaxSize():
			klog.V(4).Infof("Skipping node group %s - max size reached", name)
			skipped[name] = "max node group size reached"
			continue
		}
		template := templates[name]
		if template == nil {
			klog.Errorf("No node info for: %s", name)
			skipped[name] = "no node info"
			continue
		}
		candidate := estimate(&groupView{Group: group, template: template}, pods)
		if candidate.nodes == 0 {
			klog.V(4).Infof("No pod can fit to %s", name)
			continue
		}
		options = append(options, candidate)
	}
	return options, skipped
}

// estimate packs the pods on new nodes of a group, first fit, biggest first, as far as the group may grow.
func estimate(group *groupView, pods []*corev1.Pod) option {
	result := option{group: group}
	var added []*nodeInfo
	for _, pod := range biggestFirst(pods) {
		if place(pod, added) {
			result.pods = append(result.pods, pod)
			continue
		}
		if group.template.misfit(pod) != "" || group.TargetSize()+len(added) >= group.MaxSize() {
			continue
		}
		node := group.template.clone()
		node.add(pod)
		added = append(added, node)
		result.pods = append(result.pods, pod)
	}
	result.nodes = len(added)
	return result
}

// grow asks the provider for more nodes of a group and remembers either outcome.
func (a *Autoscaler) grow(ctx context.Context, group *provider.Group, count int, now time.Time) error {
	before := group.TargetSize()
	klog.Infof("Scale-up: setting group %s size to %d", group.Name(), before+count)
	a.statusEvent(corev1.EventTypeNormal, "ScaledUpGroup", "Scale-up: setting group %s size to %d instead of %d (max: %d)",
		group.Name(), before+count, before, group.MaxSize())
	if err := group.IncreaseSize(ctx, count); err != nil {
		a.statusEvent(corev1.EventTypeWarning, "FailedToScaleUpGroup", "Scale-up failed for group %s: %v", group.Name(), err)
		until := a.registry.backoff.register(group.Name(), now)
		klog.Warningf("Disabling scale-up for node group %s until %s", group.Name(), until.Format(time.RFC3339))
		return fmt.Errorf("failed to increase node group size: %w", err)
	}
	a.registry.registerScaleUp(group.Name(), count, now)
	a.lastScaleUp = now
	a.statusEvent(corev1.EventTypeNormal, "ScaledUpGroup", "Scale-up: group %s size set to %d instead of %d (max: %d)",
		group.Name(), before+count, before, group.MaxSize())
	return nil
}

// growToMinimum is for --enforce-node-group-min-size; without it a minimum is only the floor of scale-down.
func (a *Autoscaler) growToMinimum(ctx context.Context, now time.Time) (bool, error) {
	for _, group := range a.provider.Groups() {
		missing := group.MinSize() - group.TargetSize()
		if missing <= 0 {
			continue
		}
		if !a.registry.groupHealthy(group.Name()) || a.registry.backoff.active(group.Name(), now) {
			klog.Warningf("ScaleUpToNodeGroupMinSize: node group %s is not ready for scaleup", group.Name())
			continue
		}
		klog.V(1).Infof("ScaleUpToNodeGroupMinSize: node group %s, target size %d, min size %d", group.Name(), group.TargetSize(), group.MinSize())
		return true, a.grow(ctx, group, missing, now)
	}
	return false, nil
}

// reportUnhelped tells pods that got no node how many groups refused them for which reason.
func (a *Autoscaler) reportUnhelped(pods, helped []*corev1.Pod, skipped map[string]string, templates map[string]*nodeInfo) {
	for _, pod := range pods {
		if slices.Contains(helped, pod) {
			continue
		}
		counts := map[string]int{}
		for _, group := range a.provider.Groups() {
			reason, found := skipped[group.Name()]
			if template := templates[group.Name()]; !found && template != nil {
				reason = template.misfit(pod)
			}
			if reason != "" {
				counts[reason]++
			}
		}
		if len(counts) == 0 {
			continue
		}
		var parts []string
		for _, reason := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason))
		}
		a.recorder.Eventf(pod, corev1.EventTypeNormal, "NotTriggerScaleUp", "pod didn't trigger scale-up: %s", strings.Join(parts, ", "))
	}
}
