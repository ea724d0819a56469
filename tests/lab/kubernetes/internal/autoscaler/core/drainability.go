package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
)

const (
	safeToEvict        = "cluster-autoscaler.kubernetes.io/safe-to-evict"
	safeToEvictVolumes = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
)

// podsToMove returns the pods that must find another place before a node can go, or why the node cannot.
func podsToMove(info *nodeInfo, budgets []policyv1.PodDisruptionBudget, o *options.ScaleDown, now time.Time) ([]*corev1.Pod, string) {
	var moving []*corev1.Pod
	for _, pod := range info.pods {
		if isDaemonPod(pod) || isMirrorPod(pod) || isLongGone(pod, now) {
			continue
		}
		if reason := blocker(pod, budgets, o); reason != "" {
			return nil, fmt.Sprintf("pod %s: %s", podLabel(pod), reason)
		}
		moving = append(moving, pod)
	}
	return moving, ""
}

// isLongGone tells of a pod that should have ended by now: on a dead node it never will.
func isLongGone(pod *corev1.Pod, now time.Time) bool {
	return pod.DeletionTimestamp != nil && pod.DeletionTimestamp.Add(30*time.Second).Before(now)
}

func blocker(pod *corev1.Pod, budgets []policyv1.PodDisruptionBudget, o *options.ScaleDown) string {
	matching := budgetsOf(pod, budgets)
	for _, budget := range matching {
		if budget.Status.DisruptionsAllowed < 1 {
			return "not enough pod disruption budget"
		}
	}
	switch pod.Annotations[safeToEvict] {
	case "true":
		return ""
	case "false":
		return "not safe to evict annotation"
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return "not replicated"
	}
	known := []string{"ReplicaSet", "ReplicationController", "StatefulSet", "Job"}
	if o.SkipCustomOwner && !slices.Contains(known, owner.Kind) {
		return "owned by a custom controller"
	}
	if o.SkipSystemPods && pod.Namespace == metav1.NamespaceSystem && len(matching) == 0 {
		return "unmovable kube-system pod"
	}
	if o.SkipLocalStorage && usesLocalStorage(pod) {
		return "local storage requested"
	}
	return ""
}

func budgetsOf(pod *corev1.Pod, budgets []policyv1.PodDisruptionBudget) []policyv1.PodDisruptionBudget {
	var matching []policyv1.PodDisruptionBudget
	for _, budget := range budgets {
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err == nil && budget.Namespace == pod.Namespace && selector.Matches(labels.Set(pod.Labels)) {
			matching = append(matching, budget)
		}
	}
	return matching
}

func usesLocalStorage(pod *corev1.Pod) bool {
	safe := strings.Split(pod.Annotations[safeToEvictVolumes], ",")
	for _, volume := range pod.Spec.Volumes {
		local := volume.HostPath != nil || volume.EmptyDir != nil && volume.EmptyDir.Medium != corev1.StorageMediumMemory
		if local && !slices.Contains(safe, volume.Name) {
			return true
		}
	}
	return false
}

// utilization is the greater of the requested shares of CPU and memory.
func utilization(info *nodeInfo, ignoreDaemonSets bool) (float64, corev1.ResourceName) {
	highest, which := 0.0, corev1.ResourceCPU
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		allocatable := amountOf(name, info.node.Status.Allocatable)
		if allocatable == 0 {
			continue
		}
		var used int64
		for _, pod := range info.pods {
			if !ignoreDaemonSets || !isDaemonPod(pod) {
				used += requests(pod)[name]
			}
		}
		if share := float64(used) / float64(allocatable); share > highest {
			highest, which = share, name
		}
	}
	return highest, which
}
