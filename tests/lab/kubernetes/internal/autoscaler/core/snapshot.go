package core

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// snapshot is the cluster as one loop sees it.
type snapshot struct {
	nodes      []*corev1.Node
	infos      map[string]*nodeInfo
	pending    []*corev1.Pod
	budgets    []policyv1.PodDisruptionBudget
	daemonSets []appsv1.DaemonSet
}

func takeSnapshot(ctx context.Context, client kubernetes.Interface) (*snapshot, error) {
	cached := metav1.ListOptions{ResourceVersion: "0"}
	nodes, err := client.CoreV1().Nodes().List(ctx, cached)
	if err != nil {
		return nil, fmt.Errorf("failed to list nodes: %w", err)
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, cached)
	if err != nil {
		return nil, fmt.Errorf("failed to list pods: %w", err)
	}
	budgets, err := client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(ctx, cached)
	if err != nil {
		return nil, fmt.Errorf("failed to list pod disruption budgets: %w", err)
	}
	daemonSets, err := client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, cached)
	if err != nil {
		return nil, fmt.Errorf("failed to list daemon sets: %w", err)
	}
	seen := &snapshot{infos: map[string]*nodeInfo{}, budgets: budgets.Items, daemonSets: daemonSets.Items}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		seen.nodes = append(seen.nodes, node)
		seen.infos[node.Name] = newNodeInfo(node)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		switch {
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		case pod.Spec.NodeName == "":
			if isUnschedulable(pod) {
				seen.pending = append(seen.pending, pod)
			}
		default:
			if info, known := seen.infos[pod.Spec.NodeName]; known {
				info.add(pod)
			}
		}
	}
	return seen, nil
}

// isUnschedulable tells whether the scheduler has tried a pod and given up for now.
func isUnschedulable(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled {
			return condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable
		}
	}
	return false
}

// worthy leaves out pods that are too young or too unimportant to add nodes for.
func worthy(pods []*corev1.Pod, cutoff int, delay time.Duration, now time.Time) []*corev1.Pod {
	var kept []*corev1.Pod
	for _, pod := range pods {
		if pod.Spec.Priority != nil && int(*pod.Spec.Priority) < cutoff {
			continue
		}
		if delay > 0 && now.Sub(pod.CreationTimestamp.Time) < delay {
			continue
		}
		kept = append(kept, pod)
	}
	return kept
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func isDaemonPod(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "DaemonSet"
}

func isMirrorPod(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}
