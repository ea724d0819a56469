package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	resourcehelper "k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// nodeInfo is a node, real or imagined, with the pods that it runs or would run.
type nodeInfo struct {
	node *corev1.Node
	pods []*corev1.Pod
	used map[corev1.ResourceName]int64
}

func newNodeInfo(node *corev1.Node, pods ...*corev1.Pod) *nodeInfo {
	info := &nodeInfo{node: node, used: map[corev1.ResourceName]int64{}}
	for _, pod := range pods {
		info.add(pod)
	}
	return info
}

func (n *nodeInfo) clone() *nodeInfo {
	return &nodeInfo{node: n.node, pods: append([]*corev1.Pod(nil), n.pods...), used: maps.Clone(n.used)}
}

func (n *nodeInfo) add(pod *corev1.Pod) {
	n.pods = append(n.pods, pod)
	for name, amount := range requests(pod) {
		n.used[name] += amount
	}
}

// refusal is why a pod cannot go to a node: the scheduler's plugin that refuses it, and its reasons.
type refusal struct {
	plugin  string
	reasons []string
	node    *corev1.Node
}

// text is the refusal as the original logs it.
func (r *refusal) text(pod *corev1.Pod) string {
	details := fmt.Sprintf("nodeName: %q", r.node.Name)
	if r.plugin == "TaintToleration" {
		details += fmt.Sprintf(", nodeTaints: %#v", r.node.Spec.Taints)
	}
	return fmt.Sprintf("can't schedule pod %s: predicate %q didn't pass (predicateReasons=[%s]; debugInfo=%s)",
		podLabel(pod), r.plugin, strings.Join(r.reasons, ", "), details)
}

// fits tells whether a pod can go to a node.
func (n *nodeInfo) fits(pod *corev1.Pod) bool { return n.refuses(pod) == nil }

// refuses tells, in the scheduler's words, why a pod cannot go to a node; nil means that it can. It looks at what
// decides in practice: selectors, required node affinity, taints, resources, host ports, required anti-affinity
// between pods of one node. Affinity between pods and spread over zones are left to the scheduler.
func (n *nodeInfo) refuses(pod *corev1.Pod) *refusal {
	refused := func(plugin string, reasons ...string) *refusal { return &refusal{plugin, reasons, n.node} }
	if n.node.Spec.Unschedulable {
		return refused("NodeUnschedulable", "node(s) were unschedulable")
	}
	taint, untolerated := corev1helpers.FindMatchingUntoleratedTaint(n.node.Spec.Taints, pod.Spec.Tolerations, blocksScheduling)
	if untolerated {
		return refused("TaintToleration", fmt.Sprintf("node(s) had untolerated taint {%s: %s}", taint.Key, taint.Value))
	}
	if matches, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n.node); err != nil || !matches {
		return refused("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
	}
	for _, other := range n.pods {
		if portsClash(pod, other) {
			return refused("NodePorts", "node(s) didn't have free ports for the requested pod ports")
		}
	}
	if reasons := n.insufficient(pod); len(reasons) > 0 {
		return refused("NodeResourcesFit", reasons...)
	}
	for _, other := range n.pods {
		if repels(pod, other) || repels(other, pod) {
			return refused("InterPodAffinity", "node(s) didn't match pod anti-affinity rules")
		}
	}
	return nil
}

// insufficient are the resources of which a node has too little left for a pod.
func (n *nodeInfo) insufficient(pod *corev1.Pod) []string {
	var reasons []string
	if int64(len(n.pods))+1 > n.node.Status.Allocatable.Pods().Value() {
		reasons = append(reasons, "Too many pods")
	}
	wanted := requests(pod)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if amount := wanted[name]; amount > 0 && n.used[name]+amount > amountOf(name, n.node.Status.Allocatable) {
			reasons = append(reasons, "Insufficient "+string(name))
		}
	}
	return reasons
}

func blocksScheduling(taint *corev1.Taint) bool {
	return taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute
}

func requests(pod *corev1.Pod) map[corev1.ResourceName]int64 {
	list := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	amounts := make(map[corev1.ResourceName]int64, len(list))
	for name := range list {
		amounts[name] = amountOf(name, list)
	}
	return amounts
}

func amountOf(name corev1.ResourceName, list corev1.ResourceList) int64 {
	quantity := list[name]
	if name == corev1.ResourceCPU {
		return quantity.MilliValue()
	}
	return quantity.Value()
}

func portsClash(one, other *corev1.Pod) bool {
	taken := map[string]bool{}
	for _, container := range one.Spec.Containers {
		for _, port := range container.Ports {
			taken[fmt.Sprint(port.Protocol, port.HostPort)] = true
		}
	}
	for _, container := range other.Spec.Containers {
		for _, port := range container.Ports {
			if port.HostPort != 0 && taken[fmt.Sprint(port.Protocol, port.HostPort)] {
				return true
			}
		}
	}
	return false
}

// repels tells whether a pod refuses to share a node with another.
func repels(pod, other *corev1.Pod) bool {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return false
	}
	for _, term := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		if term.TopologyKey != corev1.LabelHostname || !inNamespaces(term.Namespaces, pod.Namespace, other.Namespace) {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
		if err == nil && selector.Matches(labels.Set(other.Labels)) {
			return true
		}
	}
	return false
}

func inNamespaces(named []string, own, namespace string) bool {
	if len(named) == 0 {
		return own == namespace
	}
	for _, name := range named {
		if name == namespace {
			return true
		}
	}
	return false
}
