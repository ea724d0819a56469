package provider

import (
	"context"
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

const podsPerNode = 110

// Template describes the node that the group would grow by: what the daemon tells, which knows no taints, zones or
// ephemeral storage, and may name the architecture otherwise than Kubernetes does.
func (g *Group) Template(ctx context.Context) (*corev1.Node, error) {
	klogat.Info(2, "slicer_node_group.go:285", "Slicer: Fetching hostgroup sizing for %s", g.Name())
	offered, err := g.slicer.HostGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch hostgroups: %w", err)
	}
	group, found := find(offered, g.Name())
	if !found {
		return nil, fmt.Errorf("hostgroup %s not found", g.Name())
	}
	if group.CPUs <= 0 || group.RAMBytes <= 0 {
		return nil, fmt.Errorf("invalid cpu or ram from hostgroup: cpu=%d ram=%s", group.CPUs, bytesSize(group.RAMBytes))
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(group.CPUs), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(group.RAMBytes, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(podsPerNode, resource.DecimalSI),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "slicer-node-template",
			Labels: map[string]string{
				corev1.LabelArchStable:        g.arch,
				corev1.LabelOSStable:          "linux",
				"kubernetes.io/instance-type": "k3s",
				LabelGroup:                    g.Name(),
				LabelType:                     "agent",
				LabelHostname:                 fmt.Sprintf("slicer-node-%d", rand.IntN(1000000)),
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity.DeepCopy(),
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}, nil
}

// TemplatePods are what every new node is taken to run: a placeholder of kube-proxy.
func TemplatePods() []*corev1.Pod {
	return []*corev1.Pod{{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy", Namespace: metav1.NamespaceSystem},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "kube-proxy",
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
			},
		}}},
	}}
}
