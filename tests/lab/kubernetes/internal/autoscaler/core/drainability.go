package core

import (
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
func podsToMove(info *nodeInfo, budgets []*policyv1.PodDisruptionBudget, o *options.ScaleDown, now time.Time) ([]*corev1.Pod, string) {
	var moving []*corev1.Pod
	for _, pod := range info.pods {
		if isDaemonPod(pod) || isMirrorPod(pod) || isLongGone(pod, now) {
			continue
		}
		if reason := blocker(pod, budgets, o); reason != "" {
			return nil, reason
		}
		moving = append(moving, pod)
	}
	return moving, ""
}

// isLongGone tells of a pod that should have ended by now: on a dead node it never will.
func isLongGone(pod *corev1.Pod, now time.Time) bool {
	return pod.DeletionTimestamp != nil && pod.DeletionTimestamp.Add(30*time.Second).Before(now)
}

// blocker is why a pod keeps its node, by the original's rules in their order.
func blocker(pod *corev1.Pod, budgets []*policyv1.PodDisruptionBudget, o *options.ScaleDown) string {
	if pod.Annotations[safeToEvict] == "true" {
		return ""
	}
	owner := metav1.GetControllerOf(pod)
	known := []string{"ReplicaSet", "ReplicationController", "StatefulSet", "Job"}
	if owner == nil || o.SkipCustomOwner && !slices.Contains(known, owner.Kind) {
		return podLabel(pod) + " is not replicated"
	}
	matching := budgetsOf(pod, budgets)
	if o.SkipSystemPods && pod.Namespace == metav1.NamespaceSystem && len(matching) == 0 {
		return "non-daemonset, non-mirrored, non-pdb-assigned kube-system pod present: " + pod.Name
	}
	if pod.Annotations[safeToEvict] == "false" {
		return "pod annotated as not safe to evict present: " + pod.Name
	}
	if o.SkipLocalStorage && usesLocalStorage(pod) {
		return "pod with local storage present: " + pod.Name
	}
	for _, budget := range matching {
		if budget.Status.DisruptionsAllowed < 1 {
			return "not enough pod disruption budget to move " + podLabel(pod)
		}
	}
	return ""
}

func budgetsOf(pod *corev1.Pod, budgets []*policyv1.PodDisruptionBudget) []*policyv1.PodDisruptionBudget {
	var matching []*policyv1.PodDisruptionBudget
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

// usage is the requested shares of a node, in the order in which the original prints them.
type usage struct {
	CPU, Memory, GPU, Other float64
	Resource                corev1.ResourceName
	Highest                 float64
}

// utilization is what is requested of a node.
func utilization(info *nodeInfo, ignoreDaemonSets bool) usage {
	share := func(name corev1.ResourceName) float64 {
		allocatable := amountOf(name, info.node.Status.Allocatable)
		if allocatable == 0 {
			return 0
		}
		var used int64
		for _, pod := range info.pods {
			if !ignoreDaemonSets || !isDaemonPod(pod) {
				used += requests(pod)[name]
			}
		}
		return float64(used) / float64(allocatable)
	}
	found := usage{CPU: share(corev1.ResourceCPU), Memory: share(corev1.ResourceMemory)}
	found.Resource, found.Highest = corev1.ResourceCPU, found.CPU
	if found.Memory > found.CPU {
		found.Resource, found.Highest = corev1.ResourceMemory, found.Memory
	}
	return found
}
