package events

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// So of a node that goes only the mark is told, and of the status each message.
func TestEventsThatAreAlike(t *testing.T) {
	about := func(kind, namespace, name, reason, message string) string {
		return spamKey(&corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}, Reason: reason, Message: message})
	}
	node := func(reason, message string) string { return about("Node", "", "n", reason, message) }
	status := func(message string) string {
		return about("ConfigMap", "kube-system", "cluster-autoscaler-status", "ScaleDownEmpty", message)
	}
	if node("ScaleDown", "marked the node as toBeDeleted/unschedulable") != node("ScaleDown", "nodes removed by cluster autoscaler") {
		t.Error("two events of a node and a reason differ")
	}
	if node("ScaleDown", "") == node("ScaleDownFailed", "") || status("one") == status("other") {
		t.Error("events that differ are taken to be alike")
	}
}
