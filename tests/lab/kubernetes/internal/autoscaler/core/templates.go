package core

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// templates imagines one new node a group: a copy of a ready one if there is any, else what the provider describes.
// A group of which neither is to be had is left out.
func (a *Autoscaler) templates(ctx context.Context, seen *snapshot) map[string]*nodeInfo {
	found := map[string]*nodeInfo{}
	for _, node := range seen.nodes {
		group := a.provider.GroupOf(node)
		if group == nil || !isReady(node) || node.Spec.Unschedulable || isMarked(node) {
			continue
		}
		if _, done := found[group.Name()]; !done {
			found[group.Name()] = copyOf(seen.infos[node.Name])
		}
	}
	for _, group := range a.provider.Groups() {
		if _, done := found[group.Name()]; done {
			continue
		}
		node, err := group.Template(ctx)
		if err != nil {
			klog.Errorf("Unable to build proper template node for %s: %v", group.Name(), err)
			continue
		}
		info := newNodeInfo(node, provider.TemplatePods()...)
		for i := range seen.daemonSets {
			set := &seen.daemonSets[i]
			pod := &corev1.Pod{ObjectMeta: *set.Spec.Template.ObjectMeta.DeepCopy(), Spec: set.Spec.Template.Spec}
			pod.Namespace = set.Namespace
			if info.misfit(pod) == "" {
				info.add(pod)
			}
		}
		found[group.Name()] = info
	}
	return found
}

// copyOf imagines another node like this one, with only what every node of the kind runs.
func copyOf(info *nodeInfo) *nodeInfo {
	node := info.node.DeepCopy()
	node.Name = fmt.Sprintf("template-node-for-%s-%d", info.node.Name, rand.Int64())
	node.Labels = maps.Clone(node.Labels)
	node.Labels[corev1.LabelHostname] = node.Name
	twin := newNodeInfo(node)
	for _, pod := range info.pods {
		if isDaemonPod(pod) || isMirrorPod(pod) {
			twin.add(pod)
		}
	}
	return twin
}

// podLabel names a pod in logs.
func podLabel(pod metav1.Object) string {
	return pod.GetNamespace() + "/" + pod.GetName()
}
