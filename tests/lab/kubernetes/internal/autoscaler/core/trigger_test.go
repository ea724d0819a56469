package core

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

func TestWhatStartsALoop(t *testing.T) {
	logged := logs(t)
	b := newBench(t, fake.NewClientset(), nil, slicertest.Start(t, "a"))
	trigger := &Trigger{autoscaler: b.Autoscaler, interval: time.Hour, pods: make(chan struct{}, 1)}
	waited := func(words string, after time.Time) {
		t.Helper()
		before := len(logged())
		trigger.Wait(context.Background(), after)
		if said := logged()[before:]; !strings.Contains(said, words) {
			t.Errorf("said %q, not %q", said, words)
		}
	}
	now := time.Now()
	b.lastScaleUp = now
	waited("trigger.go:142] Autoscaler loop triggered immediately after a scale up", now)
	b.lastScaleUp, b.lastScaleDown = now.Add(-time.Second), now
	waited("trigger.go:142] Autoscaler loop triggered immediately after a scale down", now)

	pending := pod("p", "", "100m")
	pending.Status.Conditions[0].LastTransitionTime = metav1.Now()
	trigger.notice(pending)
	trigger.notice(pending)
	waited("trigger.go:140] Autoscaler loop triggered by unschedulable pod appearing", now)
	trigger.notice(pending)
	waited("trigger.go:100] Autoscaler loop triggered by unschedulable pod appearing", now.Add(time.Second))

	old, placed, unknown := pending.DeepCopy(), pending.DeepCopy(), pending.DeepCopy()
	old.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-11 * time.Second))
	placed.Spec.NodeName = "server"
	unknown.Status.Conditions = []corev1.PodCondition{}
	for _, one := range []*corev1.Pod{old, placed, unknown} {
		trigger.notice(one)
	}
	trigger.interval = time.Millisecond
	waited("trigger.go:98] Autoscaler loop triggered by a 1ms timer", now.Add(time.Second))
}

// More pods are waited for, one loop long.
func TestVeryNewPodsWait(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	fresh := pod("p", "", "1500m")
	fresh.CreationTimestamp = metav1.NewTime(start.Add(-time.Second))
	b.put(fresh)
	for i, wanted := range []int{0, 1} {
		if err := b.after(time.Duration(i) * 2 * time.Second); err != nil || len(d.VMs()) != wanted {
			t.Errorf("loop %d: error %v, VMs %v", i, err, d.VMs())
		}
	}
}

// Of a group that has had nodes the template is their image, also once all are gone.
func TestTemplateOutlivesItsNode(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	seen, err := takeSnapshot(b.source)
	if err != nil {
		t.Fatal(err)
	}
	b.seenNodes["a"] = newNodeInfo(node("before", nil, "7", true))
	if cpus := b.templates(context.Background(), seen, start)["a"].node.Status.Allocatable.Cpu().Value(); cpus != 7 {
		t.Errorf("%d CPUs", cpus)
	}
}

// An empty node that got a pod before its taint was seen is kept.
func TestNodeThatIsNoLongerEmptyStays(t *testing.T) {
	logged := logs(t)
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	labels := map[string]string{"slicer/hostgroup": "a", "slicer/hostname": "a-1"}
	b := newBench(t, fake.NewClientset(node("a-1-0123abcd", labels, "2", true)), []string{"--node-delete-delay-after-taint=50ms"}, d)
	for i := range 3 {
		if err := b.after(time.Duration(i) * 10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.RunOnce(context.Background(), start.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	b.put(pod("late", "a-1-0123abcd", "100m"))
	b.background.Wait()
	if len(d.VMs()) != 1 || !b.saw(`ScaleDownFailed failed to delete empty node: failed to delete empty node "a-1-0123abcd", new pods scheduled`) {
		t.Error("the node went, or no event")
	}
	if !strings.Contains(logged(), "Scale-down: couldn't delete empty node \"a-1-0123abcd\", node is not empty, status error: ") {
		t.Error("no word in the log")
	}
}
