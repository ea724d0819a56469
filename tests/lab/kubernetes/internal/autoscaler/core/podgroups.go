package core

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// podGroup is the pods of one controller, which are taken to be alike, and why groups of nodes refuse them.
type podGroup struct {
	pods        []*corev1.Pod
	schedulable bool
	reasons     map[string][]string
}

func podGroups(pods []*corev1.Pod) []*podGroup {
	var groups []*podGroup
	known := map[string]*podGroup{}
	for _, pod := range pods {
		owner := controllerOf(pod)
		if group := known[owner]; owner != "" && group != nil && alike(group.pods[0], pod) {
			group.pods = append(group.pods, pod)
			continue
		}
		group := &podGroup{pods: []*corev1.Pod{pod}, reasons: map[string][]string{}}
		known[owner] = group
		groups = append(groups, group)
	}
	return groups
}

func controllerOf(pod *corev1.Pod) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return ""
	}
	return pod.Namespace + "/" + owner.Kind + "/" + owner.Name + "/" + string(owner.UID)
}

func alike(one, other *corev1.Pod) bool {
	return maps.Equal(requests(one), requests(other)) && maps.Equal(one.Spec.NodeSelector, other.Spec.NodeSelector)
}

// schedulable are the pods that a new node of a group would take.
func schedulable(groups []*podGroup, group *groupView) []*corev1.Pod {
	var fitting []*corev1.Pod
	for _, one := range groups {
		sample := one.pods[0]
		refused := group.template.refuses(sample)
		if refused == nil {
			one.schedulable = true
			fitting = append(fitting, one.pods...)
			continue
		}
		klogat.Info(2, "orchestrator.go:622", "Pod %s can't be scheduled on %s, predicate checking error: %v", podLabel(sample), group.Name(), refused.text(sample))
		if others := len(one.pods) - 1; others > 0 {
			klogat.Info(2, "orchestrator.go:624", "%d other pods similar to %s can't be scheduled on %s", others, sample.Name, group.Name())
		}
		one.reasons[group.Name()] = refused.reasons
	}
	return fitting
}

// reportUnhelped tells pods that no group takes how many groups refused them for which reason.
func (a *Autoscaler) reportUnhelped(groups []*podGroup, skipped map[string]string) {
	for _, one := range groups {
		if one.schedulable {
			continue
		}
		counts := map[string]int{}
		for _, reasons := range one.reasons {
			for _, reason := range reasons {
				counts[reason]++
			}
		}
		for _, reason := range skipped {
			counts[reason]++
		}
		var parts []string
		for reason, count := range counts {
			parts = append(parts, fmt.Sprintf("%d %s", count, reason))
		}
		for _, pod := range one.pods {
			a.recorder.Event(pod, corev1.EventTypeNormal, "NotTriggerScaleUp", "pod didn't trigger scale-up: "+strings.Join(parts, ", "))
		}
	}
}
