package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// podHeadroom is how much longer than their grace period pods may take to end.
const podHeadroom = 30 * time.Second

type deletion struct {
	group string
	drain bool
}

// deleter drains and deletes nodes in the background, so that loops go on meanwhile.
type deleter struct {
	// evictPause and gonePause are between two tries of an eviction, and two looks for a pod.
	evictPause, gonePause time.Duration

	mutex   sync.Mutex
	running map[string]deletion
}

func newDeleter() *deleter {
	return &deleter{evictPause: 10 * time.Second, gonePause: 5 * time.Second, running: map[string]deletion{}}
}

// active are the deletions that go on.
func (d *deleter) active() map[string]deletion {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return maps.Clone(d.running)
}

func (d *deleter) start(ctx context.Context, a *Autoscaler, found removal, seen *snapshot) {
	node, drain := found.node, len(found.pods) > 0
	if drain {
		a.provider.GroupOf(node)
		words := fmt.Sprintf("Scale-down: removing node %s, utilization: %v, pods to reschedule: %s", node.Name, found.load, podNames(found.pods))
		klogat.Info(0, "actuator.go:268", "%s", words)
		a.status.event(corev1.EventTypeNormal, "ScaleDown", "%s", words)
	} else {
		klogat.Info(0, "actuator.go:175", "Scale-down: removing empty node %q", node.Name)
		a.status.event(corev1.EventTypeNormal, "ScaleDownEmpty", "Scale-down: removing empty node %q", node.Name)
		a.provider.GroupOf(node)
	}
	d.mutex.Lock()
	d.running[node.Name] = deletion{group: found.group.Name(), drain: drain}
	d.mutex.Unlock()
	a.background.Add(1)
	go func() {
		defer a.background.Done()
		d.remove(ctx, a, found, drain, seen.budgets)
		d.mutex.Lock()
		defer d.mutex.Unlock()
		delete(d.running, node.Name)
	}()
}

func podNames(pods []*corev1.Pod) string {
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return strings.Join(names, ",")
}

// failure is why a node was kept after all.
type failure struct {
	what    string
	cause   error
	warning bool
}

func (d *deleter) remove(ctx context.Context, a *Autoscaler, found removal, drain bool, budgets []*policyv1.PodDisruptionBudget) {
	node := found.node
	if failed := d.try(ctx, a, found, drain, budgets); failed != nil {
		said, told := "couldn't delete empty node %q", "failed to delete empty node"
		if drain {
			said, told = "couldn't delete node %q with drain", "failed to drain and delete node"
		}
		log := klogat.Error
		position := "delete_in_batch.go:206"
		if failed.warning {
			log, position = klogat.Warning, "delete_in_batch.go:204"
		}
		log(position, "Scale-down: "+said+", %v, status error: %v", node.Name, failed.what, failed.cause)
		a.recorder.Eventf(node, corev1.EventTypeWarning, "ScaleDownFailed", told+": %v", failed.cause)
		_ = clearTaint(ctx, a.client, node, toBeDeleted) // It has been logged.
		return
	}
	a.recorder.Eventf(node, corev1.EventTypeNormal, "ScaleDown", "nodes removed by cluster autoscaler")
	if drain {
		a.status.event(corev1.EventTypeNormal, "ScaleDown", "Scale-down: node %s removed with drain", node.Name)
	} else {
		a.status.event(corev1.EventTypeNormal, "ScaleDownEmpty", "Scale-down: empty node %s removed", node.Name)
	}
}

func (d *deleter) try(ctx context.Context, a *Autoscaler, found removal, drain bool, budgets []*policyv1.PodDisruptionBudget) *failure {
	node, o := found.node, &a.options.ScaleDown
	if o.DeleteDelay > 0 {
		klogat.Info(0, "actuator.go:295", "Scale-down: waiting %v before trying to delete nodes", o.DeleteDelay)
		if err := sleep(ctx, o.DeleteDelay); err != nil {
			return &failure{cause: err}
		}
	}
	// Pods may have come to the node before the scheduler saw its taint.
	current, err := takeSnapshot(a.source)
	if err != nil {
		return &failure{what: "failed to create delete snapshot", cause: fmt.Errorf("createSnapshot returned error %w", err)}
	}
	info, known := current.infos[node.Name]
	if !known {
		info = newNodeInfo(node)
	}
	pods, reason := podsToMove(info, budgets, o, time.Now())
	if reason != "" {
		return &failure{"failed to get pods to move on node", fmt.Errorf("GetPodsToMove for %q returned error: %s", node.Name, reason), true}
	}
	if !drain && len(pods) > 0 {
		return &failure{"node is not empty", fmt.Errorf("failed to delete empty node %q, new pods scheduled", node.Name), true}
	}
	if drain {
		if err := d.drain(ctx, a, node, pods); err != nil {
			return &failure{"prepareNodeForDeletion failed", err, true}
		}
	}
	klogat.Info(1, "drain.go:140", "All pods removed from %s", node.Name)
	group := a.provider.GroupOf(node)
	if group == nil {
		return &failure{cause: fmt.Errorf("picked node that doesn't belong to a node group: %s", node.Name)}
	}
	if err := group.DeleteNodes(ctx, []*corev1.Node{node}); err != nil {
		return &failure{cause: fmt.Errorf("failed to delete nodes from group %s: %w", group.Name(), err)}
	}
	return nil
}

// drain evicts the pods, all at once, and waits until they are gone.
func (d *deleter) drain(ctx context.Context, a *Autoscaler, node *corev1.Node, pods []*corev1.Pod) error {
	refused := make([]error, len(pods))
	var tries sync.WaitGroup
	for i, pod := range pods {
		a.recorder.Eventf(pod, corev1.EventTypeNormal, "ScaleDown", "deleting pod for node scale down")
		tries.Go(func() { refused[i] = d.evict(ctx, a, pod) })
	}
	tries.Wait()
	if err := errors.Join(refused...); err != nil {
		return fmt.Errorf("Failed to drain node /%s, due to following errors: [%w]", node.Name, err)
	}
	patience := time.Duration(a.options.ScaleDown.MaxGracefulTermination)*time.Second + podHeadroom
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if gone(ctx, a.client, node.Name, pods) {
			return nil
		}
		if err := sleep(ctx, d.gonePause); err != nil {
			return err
		}
	}
	return fmt.Errorf("Failed to drain node /%s: pods remaining after timeout", node.Name)
}

func gone(ctx context.Context, client kubernetes.Interface, node string, pods []*corev1.Pod) bool {
	for _, pod := range pods {
		current, err := client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && current.Spec.NodeName == node {
			klogat.Info(1, "drain.go:152", "Not deleted yet %s", podLabel(pod))
			return false
		}
		if err != nil && !apierrors.IsNotFound(err) {
			klogat.Error("drain.go:157", "Failed to check pod %s: %v", podLabel(pod), err)
			return false
		}
	}
	return true
}

func (d *deleter) evict(ctx context.Context, a *Autoscaler, pod *corev1.Pod) error {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if own := pod.Spec.TerminationGracePeriodSeconds; own != nil {
		grace = *own
	}
	if longest := int64(a.options.ScaleDown.MaxGracefulTermination); longest > 0 {
		grace = min(grace, longest)
	}
	for deadline := time.Now().Add(a.options.ScaleDown.MaxPodEviction); ; {
		err := a.client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
			DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &grace},
		})
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if sleep(ctx, d.evictPause) != nil || !time.Now().Before(deadline) {
			klogat.Error("drain.go:259", "Failed to evict pod %s, error: %v", pod.Name, err)
			return fmt.Errorf("failed to evict pod %s within allowed timeout (last error: %w)", podLabel(pod), err)
		}
	}
}
