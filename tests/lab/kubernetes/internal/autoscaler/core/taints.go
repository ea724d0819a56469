package core

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

const (
	// toBeDeleted keeps pods off a node that goes; such a node is cordoned, too.
	toBeDeleted = "ToBeDeletedByClusterAutoscaler"
	// deletionCandidate makes the scheduler prefer other nodes than those that nobody needs.
	deletionCandidate = "DeletionCandidateOfClusterAutoscaler"

	conflictPause    = 750 * time.Millisecond
	conflictPatience = 5 * time.Second
)

func hasTaint(node *corev1.Node, key string) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == key })
}

// addTaint marks a node as of now. With toBeDeleted it is cordoned.
func addTaint(ctx context.Context, client kubernetes.Interface, node *corev1.Node, key string) error {
	taint := corev1.Taint{Key: key, Value: strconv.FormatInt(time.Now().Unix(), 10), Effect: corev1.TaintEffectPreferNoSchedule}
	if key == toBeDeleted {
		taint.Effect = corev1.TaintEffectNoSchedule
	}
	done, err := change(ctx, client, node, func(fresh *corev1.Node) bool {
		if hasTaint(fresh, key) {
			klogat.Info(2, "taints.go:243", "%v already present on node %v", key, node.Name)
			return false
		}
		fresh.Spec.Taints = append(fresh.Spec.Taints, taint)
		if key == toBeDeleted {
			klogat.Info(1, "taints.go:253", "Marking node %v to be cordoned by Cluster Autoscaler", node.Name)
			fresh.Spec.Unschedulable = true
		}
		return true
	})
	if err != nil {
		klogat.Warning("taints.go:231", "Error while adding %v taints on node %v: %v", key, node.Name, err)
		return err
	}
	if done {
		klogat.Info(1, "taints.go:234", "Successfully added %v on node %v", key, node.Name)
	}
	return nil
}

// clearTaint takes a mark away.
func clearTaint(ctx context.Context, client kubernetes.Interface, node *corev1.Node, key string) error {
	done, err := change(ctx, client, node, func(fresh *corev1.Node) bool {
		if !hasTaint(fresh, key) {
			return false
		}
		fresh.Spec.Taints = slices.DeleteFunc(fresh.Spec.Taints, func(taint corev1.Taint) bool {
			if taint.Key == key {
				klogat.Info(1, "taints.go:334", "Releasing taint %+v on node %v", taint, node.Name)
			}
			return taint.Key == key
		})
		if key == toBeDeleted {
			klogat.Info(1, "taints.go:354", "Marking node %v to be uncordoned by Cluster Autoscaler", node.Name)
			fresh.Spec.Unschedulable = false
		}
		return true
	})
	if err != nil {
		klogat.Warning("taints.go:366", "Error while releasing %v taints on node %v: %v", key, node.Name, err)
		return err
	}
	if done {
		klogat.Info(1, "taints.go:369", "Successfully released %v on node %v", key, node.Name)
	}
	return nil
}

// change edits a node, beginning with the form that is known of it. It reports whether there was anything to edit.
func change(ctx context.Context, client kubernetes.Interface, node *corev1.Node, edit func(*corev1.Node) bool) (bool, error) {
	fresh := node.DeepCopy()
	for deadline, again := time.Now().Add(conflictPatience), false; ; again = true {
		if again {
			var err error
			if fresh, err = client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{}); err != nil {
				return false, fmt.Errorf("failed to get node %v: %w", node.Name, err)
			}
		}
		if !edit(fresh) {
			if again {
				return false, nil
			}
			continue
		}
		_, err := client.CoreV1().Nodes().Update(ctx, fresh, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) && time.Now().Before(deadline) {
			if err := sleep(ctx, conflictPause); err != nil {
				return false, err
			}
			continue
		}
		return err == nil, err
	}
}

// markCandidates puts soft taints on the nodes that nobody needs and takes them from the others, a few each loop.
func (a *Autoscaler) markCandidates(ctx context.Context, nodes []*corev1.Node) {
	o := &a.options.ScaleDown
	if o.MaxSoftTaints == 0 {
		return
	}
	deadline, left, skipped := time.Now().Add(o.MaxSoftTaintTime), o.MaxSoftTaints, 0
	within := func(act func(context.Context, kubernetes.Interface, *corev1.Node, string) error, node *corev1.Node, words string) {
		if left <= 0 || !time.Now().Before(deadline) {
			skipped++
			return
		}
		left--
		if err := act(ctx, a.client, node, deletionCandidate); err != nil {
			klogat.Warning("softtaint.go:50", words, node.Name, err)
		}
	}
	var needed, unneeded []*corev1.Node
	for _, node := range nodes {
		if a.provider.GroupOf(node) == nil {
			continue
		}
		if _, found := a.planner.unneeded[node.Name]; found {
			unneeded = append(unneeded, node)
		} else {
			needed = append(needed, node)
		}
	}
	for _, node := range needed {
		if !hasTaint(node, toBeDeleted) && hasTaint(node, deletionCandidate) {
			within(clearTaint, node, "Soft taint on %s removal error %v")
		}
	}
	for _, node := range unneeded {
		if !hasTaint(node, toBeDeleted) && !hasTaint(node, deletionCandidate) {
			within(addTaint, node, "Soft taint on %s adding error %v")
		}
	}
	if skipped > 0 {
		klogat.Info(4, "softtaint.go:95", "Skipped adding/removing soft taints on %v nodes - API call or time limit exceeded", skipped)
	}
}

func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}
