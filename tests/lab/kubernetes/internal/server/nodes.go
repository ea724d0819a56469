package server

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/etcd"
)

const (
	annotationMember  = "etcd.k3s.cattle.io/node-name"
	annotationAddress = "etcd.k3s.cattle.io/node-address"
	finalizer         = "wrangler.cattle.io/managed-etcd-controller"
	conditionVoter    = "EtcdIsVoter"
	nodesEvery        = time.Second
)

var serverLabels = map[string]string{
	"node-role.kubernetes.io/control-plane": "true",
	"node-role.kubernetes.io/master":        "true",
	"node-role.kubernetes.io/etcd":          "true",
}

// nodes looks after the Node objects of servers.
type nodes struct {
	client *kubernetes.Clientset
	member *etcd.Member
}

// label keeps this server's own Node labelled: the kubelet itself may not set role labels. The finalizer makes sure
// that a deleted server leaves etcd before its Node is gone.
func (n *nodes) label(ctx context.Context) {
	for {
		node, err := n.client.CoreV1().Nodes().Get(ctx, n.member.NodeName, metav1.GetOptions{})
		if err == nil && node.DeletionTimestamp == nil && !labelled(node, n.member.Name) {
			err = n.patchLabels(ctx, node)
		}
		if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			logrus.Debugf("node %s not labelled: %v", n.member.NodeName, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nodesEvery):
		}
	}
}

func labelled(node *corev1.Node, member string) bool {
	for key, value := range serverLabels {
		if node.Labels[key] != value {
			return false
		}
	}
	return node.Annotations[annotationMember] == member && slices.Contains(node.Finalizers, finalizer)
}

func (n *nodes) patchLabels(ctx context.Context, node *corev1.Node) error {
	finalizers := node.Finalizers
	if !slices.Contains(finalizers, finalizer) {
		finalizers = append(slices.Clone(finalizers), finalizer)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      serverLabels,
		"annotations": map[string]string{annotationMember: n.member.Name, annotationAddress: n.member.IP.String()},
		"finalizers":  finalizers,
	}})
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// report writes what the leader found out onto the Nodes of the servers.
func (n *nodes) report(ctx context.Context, health []etcd.Health) {
	list, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "node-role.kubernetes.io/etcd=true"})
	if err != nil {
		logrus.Errorf("Failed to list etcd nodes: %v", err)
		return
	}
	for _, node := range list.Items {
		state := etcd.Health{Reason: "NotAMember", Message: "Node is not a member of the etcd cluster"}
		for _, candidate := range health {
			if candidate.Name != "" && candidate.Name == node.Annotations[annotationMember] {
				state = candidate
			}
		}
		if err := n.setCondition(ctx, &node, state); err != nil {
			logrus.Errorf("Failed to set etcd condition of node %s: %v", node.Name, err)
		}
	}
}

func (n *nodes) setCondition(ctx context.Context, node *corev1.Node, state etcd.Health) error {
	now := metav1.Now()
	condition := corev1.NodeCondition{Type: conditionVoter, Status: corev1.ConditionFalse, Reason: state.Reason, Message: state.Message, LastHeartbeatTime: now, LastTransitionTime: now}
	if state.Voter {
		condition.Status = corev1.ConditionTrue
	}
	for _, old := range node.Status.Conditions {
		if old.Type == conditionVoter && old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{condition}}})
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// removeDeleted takes the members of deleted Nodes out of etcd and lets the Nodes go.
func (n *nodes) removeDeleted(ctx context.Context) {
	for {
		if n.member.Leads() {
			if err := n.removeOnce(ctx); err != nil && ctx.Err() == nil {
				logrus.Errorf("Failed to remove etcd members of deleted nodes: %v", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nodesEvery):
		}
	}
}

func (n *nodes) removeOnce(ctx context.Context) error {
	list, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "node-role.kubernetes.io/etcd=true", ResourceVersion: "0"})
	if err != nil {
		return err
	}
	for _, node := range list.Items {
		if node.DeletionTimestamp == nil || !slices.Contains(node.Finalizers, finalizer) {
			continue
		}
		peer := "https://" + net.JoinHostPort(node.Annotations[annotationAddress], "2380")
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := n.member.Remove(limited, node.Annotations[annotationMember], peer)
		cancel()
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(node.Finalizers), func(f string) bool { return f == finalizer })
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": rest}})
		if err != nil {
			return err
		}
		if _, err := n.client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
