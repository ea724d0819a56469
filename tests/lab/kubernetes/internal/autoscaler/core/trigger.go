package core

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// recentChange is how long ago the scheduler may have given a pod up for it to start a loop.
const recentChange = 10 * time.Second

// Trigger tells when the next loop starts: at once after one that did something or when a pod becomes unschedulable,
// otherwise after the scan interval. There is no least time between two loops.
//
// Source: kubernetes/autoscaler@093de0a5 loop/trigger.go.
type Trigger struct {
	autoscaler *Autoscaler
	interval   time.Duration
	pods       chan struct{}
}

// NewTrigger watches for pods that cannot be scheduled until the context ends. The client is best one of its own: its
// requests then do not wait for those of the loops.
func NewTrigger(ctx context.Context, client kubernetes.Interface, a *Autoscaler) *Trigger {
	t := &Trigger{autoscaler: a, interval: a.options.ScanInterval, pods: make(chan struct{}, 1)}
	selector := fields.ParseSelectorOrDie("spec.nodeName==,status.phase!=Succeeded,status.phase!=Failed")
	watched := cache.NewFilteredListWatchFromClient(client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, func(o *metav1.ListOptions) {
		o.FieldSelector = selector.String()
	})
	informer := cache.NewSharedInformer(watched, &corev1.Pod{}, time.Hour)
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // Fails of an informer that has ended only.
		AddFunc:    t.notice,
		UpdateFunc: func(_, object any) { t.notice(object) },
	})
	go informer.Run(ctx.Done())
	return t
}

// notice takes in a pod that was made or changed.
func (t *Trigger) notice(object any) {
	pod, isPod := object.(*corev1.Pod)
	if !isPod || pod.Spec.NodeName != "" || !isUnschedulable(pod) {
		return
	}
	if scheduledCondition(pod).LastTransitionTime.Add(recentChange).Before(time.Now()) {
		return
	}
	select {
	case t.pods <- struct{}{}:
	default:
	}
}

// Wait returns when the next loop is to start. LastRun is when the one before the last began.
func (t *Trigger) Wait(ctx context.Context, lastRun time.Time) {
	switch {
	case !t.autoscaler.lastScaleUp.Before(lastRun):
		t.say("trigger.go:142", "Autoscaler loop triggered immediately after a scale up")
		return
	case !t.autoscaler.lastScaleDown.Before(lastRun):
		t.say("trigger.go:142", "Autoscaler loop triggered immediately after a scale down")
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(t.interval):
		klogat.Info(0, "trigger.go:98", "Autoscaler loop triggered by a %v timer", t.interval)
	case <-t.pods:
		klogat.Info(0, "trigger.go:100", "Autoscaler loop triggered by unschedulable pod appearing")
	}
}

// say gives the reason, of which a pod comes first.
func (t *Trigger) say(position, words string) {
	select {
	case <-t.pods:
		klogat.Info(0, "trigger.go:140", "Autoscaler loop triggered by unschedulable pod appearing")
	default:
		klogat.Info(0, position, "%s", words)
	}
}
