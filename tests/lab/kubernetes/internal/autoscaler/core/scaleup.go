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

// groupView is a group as one loop sees it.
type groupView struct {
	*provider.Group
	template *nodeInfo
}

// unhelped leaves out the pods that fit on nodes that exist or are on their way: the scheduler will get to them.
func (a *Autoscaler) unhelped(pods []*corev1.Pod, seen *snapshot, templates map[string]*nodeInfo) []*corev1.Pod {
	klogat.Info(4, "filter_out_schedulable.go:65", "Filtering out schedulables")
	targets := a.targets(seen, templates)
	quota, failed := klogat.NewQuota(), map[string]bool{}
	var left []*corev1.Pod
	for _, pod := range byPriorityOfPods(pods) {
		owner := controllerOf(pod)
		if owner != "" && failed[owner] {
			quota.Info(4, "failed to find place for %s based on similar pods scheduling", podLabel(pod))
			left = append(left, pod)
			continue
		}
		if target := place(pod, targets); target != nil {
			quota.Info(4, "Pod %s can be moved to %s", podLabel(pod), target.node.Name)
			continue
		}
		quota.Info(4, "failed to find place for %s: can't schedule pod %s: couldn't find a matching Node with passing predicates", podLabel(pod), podLabel(pod))
		failed[owner] = true
		left = append(left, pod)
	}
	quota.Rest(4, "There were also %v other logs from HintingSimulator.TrySchedulePods func that were capped.")
	klogat.Info(4, "filter_out_schedulable.go:122", "%v pods marked as unschedulable can be scheduled.", len(pods)-len(left))
	if len(left) < len(pods) {
		klogat.Info(2, "filter_out_schedulable.go:77", "Schedulable pods present")
	} else {
		klogat.Info(4, "filter_out_schedulable.go:85", "No schedulable pods")
	}
	return left
}

// targets are the nodes that a pod may be put on: ready ones, and an image of each that is expected.
func (a *Autoscaler) targets(seen *snapshot, templates map[string]*nodeInfo) []*nodeInfo {
	var targets []*nodeInfo
	for _, node := range seen.nodes {
		if isReady(node) {
			targets = append(targets, seen.infos[node.Name].clone())
		}
	}
	for _, group := range a.provider.Groups() {
		count, _ := a.registry.upcoming(group.Name())
		template := templates[group.Name()]
		if template == nil {
			if count > 0 {
				klogat.Warning("static_autoscaler.go:1067", "Couldn't find template for node group %s", group.Name())
			}
			continue
		}
		for range count {
			targets = append(targets, template.clone())
		}
	}
	return targets
}

// place puts a pod on the first target that takes it.
func place(pod *corev1.Pod, targets []*nodeInfo) *nodeInfo {
	for _, target := range targets {
		if target.fits(pod) {
			target.add(pod)
			return target
		}
	}
	return nil
}

func byPriorityOfPods(pods []*corev1.Pod) []*corev1.Pod {
	priority := func(pod *corev1.Pod) int32 {
		if pod.Spec.Priority == nil {
			return 0
		}
		return *pod.Spec.Priority
	}
	sorted := slices.Clone(pods)
	slices.SortStableFunc(sorted, func(one, other *corev1.Pod) int { return cmp.Compare(priority(other), priority(one)) })
	return sorted
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

// plan is a change of one group's size, in the words of logs and events.
type plan struct {
	group    *provider.Group
	from, to int
}

func (p plan) String() string {
	return fmt.Sprintf("{%v %v->%v (max: %v)}", p.group.Name(), p.from, p.to, p.group.MaxSize())
}

// scaleUp grows one group for the pods, and tells the others why not. It reports whether a group grew.
func (a *Autoscaler) scaleUp(ctx context.Context, pods []*corev1.Pod, seen *snapshot, templates map[string]*nodeInfo, now time.Time) (bool, error) {
	quota := klogat.NewQuota()
	for _, pod := range pods {
		quota.Info(1, "Pod %s is unschedulable", podLabel(pod))
	}
	quota.Rest(1, "%v other pods are also unschedulable")
	upcoming := 0
	for _, group := range a.provider.Groups() {
		count, _ := a.registry.upcoming(group.Name())
		upcoming += count
	}
	klogat.Info(4, "orchestrator.go:110", "Upcoming %d nodes", upcoming)
	a.countResources(seen)
	groups := podGroups(pods)
	options, skipped := a.scaleUpOptions(groups, templates, now)
	if len(options) == 0 {
		klogat.Info(1, "orchestrator.go:168", "No expansion options")
		a.reportUnhelped(groups, skipped)
		return false, nil
	}
	chosen := a.expander(options)
	klogat.Info(1, "orchestrator.go:185", "Best option to resize: %s", chosen.group.Name())
	klogat.Info(1, "orchestrator.go:189", "Estimated %d nodes needed in %s", chosen.nodes, chosen.group.Name())
	count, err := a.capped(chosen.nodes, seen.ready()+upcoming)
	if err != nil {
		return false, a.helped(err)
	}
	if count < chosen.nodes {
		klogat.Info(1, "orchestrator.go:205", "Only %d nodes can be added to %s due to cluster-wide limits", count, chosen.group.Name())
	}
	target := chosen.group.TargetSize()
	if room := chosen.group.MaxSize() - target; count > room {
		klogat.Info(2, "balancing_processor.go:112", "Requested scale-up (%v) exceeds node group set capacity, capping to %v", count, room)
		klogat.Info(1, "orchestrator.go:251", "Can only add %d nodes due to node group limits, need %d nodes", room, count)
		count = room
	}
	plans := []plan{{chosen.group.Group, target, target + count}}
	klogat.Info(1, "orchestrator.go:261", "Final scale-up plan: %v", plans)
	err = a.grow(ctx, plans[0], now)
	if err = a.helped(err); err != nil {
		return false, err
	}
	for _, pod := range chosen.pods {
		a.recorder.Eventf(pod, corev1.EventTypeNormal, "TriggeredScaleUp", "pod triggered scale-up: %v", plans)
	}
	return true, nil
}

// helped says that pods get no event of a refusal in a loop that tried to grow.
func (a *Autoscaler) helped(err error) error {
	klogat.Info(4, "eventing_scale_up_processor.go:47", "Skipping event processing for unschedulable pods since there is a ScaleUp attempt this loop")
	return err
}

// countResources is where the original adds up what servers have, for limits that this provider does not know.
func (a *Autoscaler) countResources(seen *snapshot) {
	for _, node := range seen.nodes {
		if isReady(node) {
			a.provider.GroupOf(node)
		}
	}
}

func (a *Autoscaler) capped(count, current int) (int, error) {
	total := a.options.MaxNodesTotal
	if total == 0 || current+count <= total {
		return count, nil
	}
	klogat.Info(1, "orchestrator.go:699", "Capping size to max cluster total size (%d)", total)
	a.status.event(corev1.EventTypeWarning, "MaxNodesTotalReached", "Max total nodes in cluster reached: %v", total)
	if total-current < 1 {
		return 0, errors.New("max node total count already reached")
	}
	return total - current, nil
}

// scaleUpOptions works out what each group could do, and for the others the reason why they are not asked.
func (a *Autoscaler) scaleUpOptions(groups []*podGroup, templates map[string]*nodeInfo, now time.Time) ([]option, map[string]string) {
	skipped := map[string]string{}
	var valid []*groupView
	for _, group := range a.provider.Groups() {
		name := group.Name()
		if reason := a.notReady(name, now); reason != "" {
			skipped[name] = reason
			continue
		}
		if group.TargetSize() >= group.MaxSize() {
			klogat.Info(4, "orchestrator.go:420", "Skipping node group %s - max size reached", name)
			skipped[name] = "max node group size reached"
			continue
		}
		template := templates[name]
		if template == nil {
			klogat.Error("orchestrator.go:440", "No node info for: %s", name)
			skipped[name] = "not ready for scale-up"
			continue
		}
		valid = append(valid, &groupView{Group: group, template: template})
	}
	fitting := map[string][]*corev1.Pod{}
	for _, group := range valid {
		fitting[group.Name()] = schedulable(groups, group)
	}
	var options []option
	for _, group := range valid {
		candidate := estimate(group, fitting[group.Name()])
		if candidate.nodes == 0 {
			klogat.Info(4, "orchestrator.go:152", "No pod can fit to %s", group.Name())
			continue
		}
		options = append(options, candidate)
	}
	return options, skipped
}

// notReady is why a group may not grow now.
func (a *Autoscaler) notReady(name string, now time.Time) string {
	if !a.registry.groupHealthy(name) {
		klogat.Warning("orchestrator.go:657", "Node group %s is not ready for scaleup - unhealthy", name)
		return "not ready for scale-up"
	}
	if a.registry.backoff.active(name, now) {
		failure := a.registry.backoff.pauses[name]
		klogat.Warning("orchestrator.go:660", "Node group %s is not ready for scaleup - backoff with status: {IsBackedOff:true ErrorInfo:{ErrorClass:Other ErrorCode:%s ErrorMessage:%s}}",
			name, failure.code, failure.message)
		return "in backoff after failed scale-up"
	}
	return ""
}

// estimate packs the pods on new nodes of a group, first fit, biggest first, as far as the group may grow.
func estimate(group *groupView, pods []*corev1.Pod) option {
	result := option{group: group}
	var added []*nodeInfo
	for _, pod := range biggestFirst(pods) {
		if place(pod, added) != nil {
			result.pods = append(result.pods, pod)
			continue
		}
		if !group.template.fits(pod) || group.TargetSize()+len(added) >= group.MaxSize() {
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
func (a *Autoscaler) grow(ctx context.Context, p plan, now time.Time) error {
	name := p.group.Name()
	klogat.Info(0, "executor.go:164", "Scale-up: setting group %s size to %d", name, p.to)
	a.status.event(corev1.EventTypeNormal, "ScaledUpGroup", "Scale-up: setting group %s size to %d instead of %d (max: %d)",
		name, p.to, p.from, p.group.MaxSize())
	if err := p.group.IncreaseSize(ctx, p.to-p.from); err != nil {
		a.status.event(corev1.EventTypeWarning, "FailedToScaleUpGroup", "Scale-up failed for group %s: %v", name, err)
		err = fmt.Errorf("failed to increase node group size: %w", err)
		a.registry.failed(name, "cloudProviderError", err.Error(), now)
		return err
	}
	a.registry.registerScaleUp(name, p.to-p.from, now)
	a.status.event(corev1.EventTypeNormal, "ScaledUpGroup", "Scale-up: group %s size set to %d instead of %d (max: %d)",
		name, p.to, p.from, p.group.MaxSize())
	a.registry.updateRanges()
	return nil
}

// growToMinimum is for --enforce-node-group-min-size; without it a minimum is only the floor of scale-down.
func (a *Autoscaler) growToMinimum(ctx context.Context, seen *snapshot, templates map[string]*nodeInfo, now time.Time) {
	a.countResources(seen)
	var plans []plan
	for _, group := range a.provider.Groups() {
		name, target := group.Name(), group.TargetSize()
		klogat.Info(4, "orchestrator.go:329", "ScaleUpToNodeGroupMinSize: NodeGroup %s, TargetSize %d, MinSize %d, MaxSize %d", name, target, group.MinSize(), group.MaxSize())
		if target >= group.MinSize() {
			continue
		}
		if reason := a.notReady(name, now); reason != "" {
			klogat.Warning("orchestrator.go:335", "ScaleUpToNodeGroupMinSize: node group is ready to scale up: &{[%s]}", reason)
			continue
		}
		if templates[name] == nil {
			klogat.Warning("orchestrator.go:341", "ScaleUpToNodeGroupMinSize: no node info for %s", name)
			continue
		}
		plans = append(plans, plan{group, target, group.MinSize()})
	}
	if len(plans) == 0 {
		klogat.Info(1, "orchestrator.go:373", "ScaleUpToNodeGroupMinSize: scale up not needed")
		return
	}
	klogat.Info(1, "orchestrator.go:377", "ScaleUpToNodeGroupMinSize: final scale-up plan: %v", plans)
	for _, one := range plans {
		if err := a.grow(ctx, one, now); err != nil {
			klogat.Error("static_autoscaler.go:513", "Failed to scale up: %v", err)
			return
		}
	}
	a.lastScaleUp = now
}
