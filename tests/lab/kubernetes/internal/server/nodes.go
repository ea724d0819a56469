package server

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/nodepassword"
)

const (
	annotationMember  = "etcd.k3s.cattle.io/node-name"
	annotationAddress = "etcd.k3s.cattle.io/node-address"
	conditionVoter    = "EtcdIsVoter"
	nodesEvery        = time.Second
	heartbeatEvery    = 5 * time.Minute
)

var serverLabels = map[string]string{
	"node-role.kubernetes.io/control-plane": "true",
	labelEtcd:                               "true",
}

// nodes looks after the Node objects of servers.
type nodes struct {
	client atomic.Pointer[kubernetes.Clientset]
	member *etcd.Member
}

// label keeps this server's own Node labelled: the kubelet itself may not set role labels.
func (n *nodes) label(ctx context.Context) {
	client := n.client.Load()
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, n.member.NodeName, metav1.GetOptions{})
		if err == nil && !n.labelled(node) {
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

func (n *nodes) labelled(node *corev1.Node) bool {
	for key, value := range serverLabels {
		if node.Labels[key] != value {
			return false
		}
	}
	return node.Annotations[annotationMember] == n.member.Name && node.Annotations[annotationAddress] == n.member.IP.String()
}

func (n *nodes) patchLabels(ctx context.Context, node *corev1.Node) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      serverLabels,
		"annotations": map[string]string{annotationMember: n.member.Name, annotationAddress: n.member.IP.String()},
	}})
	if err != nil {
		return err
	}
	_, err = n.client.Load().CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// report writes what the leader found out onto the Nodes of the servers.
func (n *nodes) report(ctx context.Context, health []etcd.Health) {
	client := n.client.Load()
	if client == nil {
		logrus.Warn("Failed to list nodes with etcd role: runtime core not ready")
		return
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: labelEtcd + "=true"})
	if err != nil {
		logrus.Warnf("Failed to list nodes with etcd role: %v", err)
		return
	}
	for _, node := range list.Items {
		state := etcd.Health{Reason: "NotAMember", Message: "Node is not a member of the etcd cluster"}
		for _, candidate := range health {
			if candidate.Name != "" && candidate.Name == node.Annotations[annotationMember] {
				state = candidate
			}
		}
		if err := setCondition(ctx, client, &node, state); err != nil {
			logrus.Errorf("Unable to set etcd status condition %s: %v", node.Name, err)
		}
	}
}

// setCondition writes a condition where it changed, and otherwise now and then, to say that it still is so.
func setCondition(ctx context.Context, client kubernetes.Interface, node *corev1.Node, state etcd.Health) error {
	now := metav1.Now()
	condition := corev1.NodeCondition{Type: conditionVoter, Status: corev1.ConditionFalse, Reason: state.Reason, Message: state.Message, LastHeartbeatTime: now, LastTransitionTime: now}
	if state.Voter {
		condition.Status = corev1.ConditionTrue
	}
	for _, old := range node.Status.Conditions {
		if old.Type != conditionVoter || old.Status != condition.Status || old.Reason != condition.Reason || old.Message != condition.Message {
			continue
		}
		if now.Sub(old.LastHeartbeatTime.Time) < heartbeatEvery {
			return nil
		}
		condition.LastTransitionTime = old.LastTransitionTime
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{condition}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// afterReset forgets this node's password where the cluster was reset, as a snapshot may hold an earlier one, and that
// it was.
func afterReset(ctx context.Context, s *config.Server, client kubernetes.Interface) {
	if !etcd.WasReset(s.ServerDir("db")) {
		return
	}
	if err := nodepassword.Forget(ctx, client, s.Name); err != nil && !apierrors.IsNotFound(err) {
		logrus.Warnf("failed to delete old node password secret: %v", err)
	}
	for {
		if _, err := client.CoreV1().Nodes().Get(ctx, s.Name, metav1.GetOptions{}); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nodesEvery):
		}
	}
	if err := etcd.ClearReset(s.ServerDir("db")); err != nil {
		logrus.Errorf("Failed to delete etcd cluster-reset file: %v", err)
	}
}
