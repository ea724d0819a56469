package core

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// stable is how long a node has to have been ready to be copied.
const stable = time.Minute

// templates imagines one new node a group: a copy of a ready one if there is or ever was any, else what the provider
// describes. A group of which neither is to be had is left out.
func (a *Autoscaler) templates(ctx context.Context, seen *snapshot, now time.Time) map[string]*nodeInfo {
	found := map[string]*nodeInfo{}
	var bad []*corev1.Node
	for _, node := range seen.nodes {
		if !isGoodTemplate(node, now) {
			bad = append(bad, node)
			continue
		}
		if group := a.provider.GroupOf(node); group != nil && found[group.Name()] == nil {
			found[group.Name()] = copyOf(seen.infos[node.Name])
			a.seenNodes[group.Name()] = found[group.Name()].clone()
		}
	}
	for _, group := range a.provider.Groups() {
		if found[group.Name()] != nil {
			continue
		}
		if before := a.seenNodes[group.Name()]; before != nil {
			found[group.Name()] = before.clone()
			continue
		}
		node, err := group.Template(ctx)
		if err != nil {
			klogat.Error("mixed_nodeinfos_processor.go:152", "Unable to build proper template node for %s: failed to obtain template NodeInfo from node group %q: %v",
				group.Name(), group.Name(), err)
			continue
		}
		found[group.Name()] = described(node, seen)
	}
	for _, node := range bad {
		group := a.provider.GroupOf(node)
		added := group != nil && found[group.Name()] == nil
		if added {
			found[group.Name()] = copyOf(seen.infos[node.Name])
		}
		a.provider.GroupOf(node)
		if added {
			klogat.Warning("mixed_nodeinfos_processor.go:178", "Built template for %s based on unready/unschedulable node %s", group.Name(), node.Name)
		}
	}
	return found
}

func isGoodTemplate(node *corev1.Node, now time.Time) bool {
	ready, since := readiness(node)
	return ready && since.Add(stable).Before(now) && !node.Spec.Unschedulable && !hasTaint(node, toBeDeleted)
}

// described is what the provider tells of a new node, with the pods that it would run.
func described(node *corev1.Node, seen *snapshot) *nodeInfo {
	info := newNodeInfo(node, provider.TemplatePods()...)
	for _, set := range seen.daemonSets {
		pod := &corev1.Pod{ObjectMeta: *set.Spec.Template.ObjectMeta.DeepCopy(), Spec: set.Spec.Template.Spec}
		pod.Namespace = set.Namespace
		if info.fits(pod) {
			info.add(pod)
		}
	}
	return info
}

// copyOf imagines another node like this one, with only what every node of the kind runs.
func copyOf(info *nodeInfo) *nodeInfo {
	node := info.node.DeepCopy()
	node.Name = fmt.Sprintf("template-node-for-%s-%d", info.node.Name, rand.Int64())
	node.Labels = maps.Clone(node.Labels)
	node.Labels[corev1.LabelHostname] = node.Name
	node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, passes)
	twin := newNodeInfo(node)
	for _, pod := range info.pods {
		if isDaemonPod(pod) || isMirrorPod(pod) {
			twin.add(pod)
		}
	}
	return twin
}

// passes tells of a taint that a new node would not have.
func passes(taint corev1.Taint) bool {
	switch {
	case taint.Key == toBeDeleted:
		klogat.Info(4, "taints.go:447", "Removing autoscaler taint when creating template from node")
	case taint.Key == deletionCandidate:
		klogat.Info(4, "taints.go:450", "Removing autoscaler soft taint when creating template from node")
	case strings.HasPrefix(taint.Key, "node.kubernetes.io/"):
		klogat.Info(4, "taints.go:456", "Removing node condition taint %s, when creating template from node", taint.Key)
	default:
		return false
	}
	return true
}

// podLabel names a pod in logs.
func podLabel(pod metav1.Object) string {
	return pod.GetNamespace() + "/" + pod.GetName()
}
