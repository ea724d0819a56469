package core

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

const (
	toBeDeleted = "ToBeDeletedByClusterAutoscaler"
	// How long evictions that a budget refuses are tried again.
	evictionTime = 2 * time.Minute
)

type deletion struct {
	group string
	drain bool
}

// deleter drains and deletes nodes in the background, so that loops go on meanwhile.
type deleter struct {
	poll time.Duration

	mutex           sync.Mutex
	active          map[string]deletion
	deleted, failed time.Time
}

func newDeleter() *deleter {
	return &deleter{poll: 2 * time.Second, active: map[string]deletion{}}
}

func (d *deleter) busy(node string) bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	_, active := d.active[node]
	return active
}

func (d *deleter) count(counts func(deletion) bool) int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	total := 0
	for _, one := range d.active {
		if counts(one) {
			total++
		}
	}
	return total
}

func (d *deleter) running(drainsOnly bool) int {
	return d.count(func(one deletion) bool { return one.drain || !drainsOnly })
}

func (d *deleter) runningIn(group string) int {
	return d.count(func(one deletion) bool { return one.group == group })
}

func (d *deleter) last() (deleted, failed time.Time) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.deleted, d.failed
}

func (d *deleter) start(ctx context.Context, a *Autoscaler, found removal) {
	group := a.provider.GroupOf(found.node)
	d.mutex.Lock()
	d.active[found.node.Name] = deletion{group: group.Name(), drain: len(found.pods) > 0}
	d.mutex.Unlock()
	a.background.Add(1)
	go func() {
		defer a.background.Done()
		err := d.remove(ctx, a, found)
		d.mutex.Lock()
		defer d.mutex.Unlock()
		delete(d.active, found.node.Name)
		if err != nil {
			d.failed = time.Now()
		} else {
			d.deleted = time.Now()
		}
	}()
}

func (d *deleter) remove(ctx context.Context, a *Autoscaler, found removal) error {
	node, group := found.node, a.provider.GroupOf(found.node)
	if len(found.pods) == 0 {
		klog.Infof("Scale-down: removing empty node %q", node.Name)
		a.statusEvent(corev1.EventTypeNormal, "ScaleDownEmpty", "Scale-down: removing empty node %q", node.Name)
	} else {
		var names []string
		for _, pod := range found.pods {
			names = append(names, pod.Name)
		}
		klog.Infof("Scale-down: removing node %s, utilization: %.3f, pods to reschedule: %v", node.Name, found.load, names)
		a.statusEvent(corev1.EventTypeNormal, "ScaleDown", "Scale-down: removing node %s, utilization: %.3f, pods to reschedule: %v", node.Name, found.load, names)
	}
	err := mark(ctx, a.client, node.Name, true)
	if err == nil {
		a.recorder.Eventf(node, corev1.EventTypeNormal, "ScaleDown", "marked the node as toBeDeleted/unschedulable")
		err = d.drain(ctx, a, found)
	}
	if err == nil {
		err = group.DeleteNodes(ctx, []*corev1.Node{node})
	}
	if err != nil {
		klog.Errorf("Failed to delete node %s: %v", node.Name, err)
		a.recorder.Eventf(node, corev1.EventTypeWarning, "ScaleDownFailed", "failed to delete node: %v", err)
		if err := mark(ctx, a.client, node.Name, false); err != nil && !apierrors.IsNotFound(err) {
			klog.Errorf("Failed to remove the deletion taint of node %s: %v", node.Name, err)
		}
		return err
	}
	a.recorder.Eventf(node, corev1.EventTypeNormal, "ScaleDown", "node removed by cluster autoscaler")
	return nil
}

// drain evicts the pods and waits until they are gone.
func (d *deleter) drain(ctx context.Context, a *Autoscaler, found removal) error {
	grace := a.options.ScaleDown.MaxGracefulTermination
	deadline := time.Now().Add(evictionTime)
	for _, pod := range found.pods {
		a.recorder.Eventf(pod, corev1.EventTypeNormal, "ScaleDown", "deleting pod for node scale down")
		for {
			err := evict(ctx, a.client, pod, grace)
			if err == nil || apierrors.IsNotFound(err) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("failed to evict pod %s within allowed timeout (last error: %w)", podLabel(pod), err)
			}
			if err := sleep(ctx, d.poll); err != nil {
				return err
			}
		}
	}
	deadline = time.Now().Add(time.Duration(grace)*time.Second + 30*time.Second)
	for _, pod := range found.pods {
		for {
			current, err := a.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) || err == nil && (current.UID != pod.UID || current.Spec.NodeName != found.node.Name) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("pod %s remains on node %s after its time to end", podLabel(pod), found.node.Name)
			}
			if err := sleep(ctx, d.poll); err != nil {
				return err
			}
		}
	}
	return nil
}

func evict(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, longest int) error {
	grace := int64(longest)
	if own := pod.Spec.TerminationGracePeriodSeconds; own != nil && *own < grace {
		grace = *own
	}
	return client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
		DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &grace},
	})
}

// mark puts the taint of a node that is going, or takes it away.
func mark(ctx context.Context, client kubernetes.Interface, name string, going bool) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == toBeDeleted })
		if going {
			now := strconv.FormatInt(time.Now().Unix(), 10)
			node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: toBeDeleted, Value: now, Effect: corev1.TaintEffectNoSchedule})
		}
		_, err = client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

func isMarked(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == toBeDeleted })
}

func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}
