package core

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// snapshot is the cluster as one loop sees it.
type snapshot struct {
	nodes      []*corev1.Node
	infos      map[string]*nodeInfo
	pending    []*corev1.Pod
	budgets    []*policyv1.PodDisruptionBudget
	daemonSets []*appsv1.DaemonSet
	// pods and scheduled count all pods but the ended ones.
	pods, scheduled int
}

func takeSnapshot(source Source) (*snapshot, error) {
	nodes, err := source.Nodes()
	if err != nil {
		klogat.Error("static_autoscaler.go:286", "Failed to get node list: %v", err)
		return nil, fmt.Errorf("failed to list nodes: %w", err)
	}
	pods, err := source.Pods()
	if err != nil {
		klogat.Error("static_autoscaler.go:1169", "Failed to list pods: %v", err)
		return nil, fmt.Errorf("failed to list pods: %w", err)
	}
	budgets, err := source.Budgets()
	if err != nil {
		klogat.Error("static_autoscaler.go:249", "Failed to list pod disruption budgets: %v", err)
		return nil, fmt.Errorf("failed to list pod disruption budgets: %w", err)
	}
	daemonSets, err := source.DaemonSets()
	if err != nil {
		klogat.Error("static_autoscaler.go:313", "Failed to get daemonset list: %v", err)
		return nil, fmt.Errorf("failed to list daemon sets: %w", err)
	}
	seen := &snapshot{nodes: slices.Clone(nodes), infos: map[string]*nodeInfo{}, budgets: budgets, daemonSets: daemonSets}
	slices.SortFunc(seen.nodes, func(one, other *corev1.Node) int { return cmp.Compare(one.Name, other.Name) })
	for _, node := range seen.nodes {
		seen.infos[node.Name] = newNodeInfo(node)
	}
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		seen.pods++
		switch {
		case pod.Spec.NodeName != "":
			seen.scheduled++
			if info, known := seen.infos[pod.Spec.NodeName]; known {
				info.add(pod)
			}
		case isUnschedulable(pod):
			seen.pending = append(seen.pending, pod)
		}
	}
	slices.SortFunc(seen.pending, func(one, other *corev1.Pod) int { return cmp.Compare(podLabel(one), podLabel(other)) })
	return seen, nil
}

// report tells of the pods unless all are scheduled.
func (s *snapshot) report() {
	if s.pods == s.scheduled {
		return
	}
	klogat.Info(0, "static_autoscaler.go:1176",
		"Found %d pods in the cluster: %d scheduled, %d unschedulable, %d unprocessed by scheduler, %d ignored (most likely using custom scheduler)",
		s.pods, s.scheduled, len(s.pending), 0, s.pods-s.scheduled-len(s.pending))
}

func (s *snapshot) ready() int {
	count := 0
	for _, node := range s.nodes {
		if isReady(node) {
			count++
		}
	}
	return count
}

// without is the nodes but for those of these names.
func (s *snapshot) without(names []string) []*corev1.Node {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(node *corev1.Node) bool { return slices.Contains(names, node.Name) })
}

// isUnschedulable tells whether the scheduler has tried a pod and given up for now.
func isUnschedulable(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	condition := scheduledCondition(pod)
	return condition != nil && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable
}

func scheduledCondition(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodScheduled {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// important leaves out pods for which no node is added.
func important(pods []*corev1.Pod, cutoff int) []*corev1.Pod {
	var kept []*corev1.Pod
	for _, pod := range pods {
		if pod.Spec.Priority != nil && int(*pod.Spec.Priority) < cutoff {
			klogat.Info(4, "expendable.go:38", "Pod %s has priority below %d (%d) and will scheduled when enough resources is free. Ignoring in scale up.",
				pod.Name, cutoff, *pod.Spec.Priority)
			continue
		}
		kept = append(kept, pod)
	}
	return kept
}

// oldEnough leaves out pods that are younger than the delay.
func oldEnough(pods []*corev1.Pod, delay time.Duration, now time.Time) []*corev1.Pod {
	var kept []*corev1.Pod
	for _, pod := range pods {
		if age := now.Sub(pod.CreationTimestamp.Time); age <= delay {
			klogat.Info(3, "static_autoscaler.go:979", "Pod %s is %.3f seconds old, too new to consider unschedulable", pod.Name, age.Seconds())
			continue
		}
		kept = append(kept, pod)
	}
	return kept
}

func isReady(node *corev1.Node) bool {
	ready, _ := readiness(node)
	return ready
}

// readiness is whether a node is ready, and since when that is so or not.
func readiness(node *corev1.Node) (bool, time.Time) {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue, condition.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// named is a node of which only the name is known.
func named(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func isDaemonPod(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "DaemonSet"
}

func isMirrorPod(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}
