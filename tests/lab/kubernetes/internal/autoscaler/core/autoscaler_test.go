package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

func TestGrowsFromZeroAndStopsAtMaximum(t *testing.T) {
	logged := logs(t)
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	for i := range 5 {
		b.put(pod(fmt.Sprint("p", i), "", "1500m"))
	}
	if err := b.after(0); err != nil || len(d.VMs()) != 2 {
		t.Fatalf("error %v, VMs %v", err, d.VMs())
	}
	if !b.saw("TriggeredScaleUp pod triggered scale-up: [{a 0->2 (max: 2)}]") {
		t.Error("no event on the pods")
	}
	b.join(d)
	if err := b.after(10 * time.Second); err != nil || len(d.VMs()) != 2 {
		t.Fatalf("error %v, VMs %v", err, d.VMs())
	}
	if !b.saw("pod didn't trigger scale-up: 1 max node group size reached") {
		t.Error("pods were not told that the maximum is reached")
	}
	if !strings.Contains(logged(), "Skipping node group a - max size reached") {
		t.Error("the words that troubleshooting looks for are not in the log")
	}
}

// Otherwise every loop would add nodes for the same pods until the first joins.
func TestUpcomingNodesAreWaitedFor(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	b.put(pod("p", "", "1500m"))
	for i := range 3 {
		if err := b.after(time.Duration(i) * 10 * time.Second); err != nil || len(d.VMs()) != 1 {
			t.Fatalf("loop %d: error %v, VMs %v", i, err, d.VMs())
		}
	}
}

func TestOnlyFittingGroupsGrow(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	elsewhere := pod("selector", "", "100m")
	elsewhere.Spec.NodeSelector = map[string]string{corev1.LabelArchStable: "amd64"} // the daemon says x86_64
	b.put(pod("huge", "", "2"))                                                      // a new node keeps 100m for itself
	b.put(elsewhere)
	cheap := int32(-11)
	expendable := pod("expendable", "", "1500m")
	expendable.Spec.Priority = &cheap
	b.put(expendable)
	b.put(node("busy", nil, "1", false))
	if err := b.after(0); err != nil || len(d.VMs()) != 0 {
		t.Fatalf("error %v, VMs %v", err, d.VMs())
	}
	if !b.saw("didn't match Pod's node affinity/selector") {
		t.Error("no reason given")
	}
}

func TestShrinksOnlyWithPermission(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		d := slicertest.Start(t, "a")
		d.AddVM("a-1")
		client := fake.NewClientset(node("a-1-0123abcd", map[string]string{provider.LabelGroup: "a", provider.LabelHostname: "a-1"}, "2", true))
		if !allowed {
			client.PrependReactor("delete", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("forbidden")
			})
		}
		client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if action.GetSubresource() != "eviction" {
				return false, nil, nil
			}
			return true, nil, client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "default", "p")
		})
		b := newBench(t, client, nil, d)
		b.put(pod("p", "a-1-0123abcd", "200m"))
		for i := range 4 {
			if err := b.after(time.Duration(i) * 10 * time.Second); err != nil {
				t.Fatal(err)
			}
			if gone := len(d.VMs()) == 0; gone != (i == 3) {
				t.Fatalf("loop %d: VM gone %v", i, gone)
			}
		}
		nodes, err := client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: provider.LabelGroup})
		if err != nil {
			t.Fatal(err)
		}
		target := b.provider.Groups()[0].TargetSize()
		if allowed && (len(nodes.Items) != 0 || target != 0) || !allowed && (len(nodes.Items) != 1 || target != 1 || hasTaint(&nodes.Items[0], toBeDeleted) || nodes.Items[0].Spec.Unschedulable) {
			t.Errorf("allowed %v: nodes %v, target %d", allowed, nodes.Items, target)
		}
	}
}

func TestKeepsNodesThatAreNeeded(t *testing.T) {
	system := pod("p", "a-1-0123abcd", "200m")
	system.Namespace = metav1.NamespaceSystem
	local := pod("p", "a-1-0123abcd", "200m")
	local.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	naked := pod("p", "a-1-0123abcd", "200m")
	naked.OwnerReferences = nil
	homeless := pod("p", "a-1-0123abcd", "200m")
	homeless.Spec.NodeSelector = map[string]string{provider.LabelGroup: "a"}
	for what, keeps := range map[string]*corev1.Pod{
		"system pod": system, "local storage": local, "no controller": naked, "no other place": homeless, "half used": pod("p", "a-1-0123abcd", "1"),
	} {
		d := slicertest.Start(t, "a")
		d.AddVM("a-1")
		client := fake.NewClientset(node("a-1-0123abcd", map[string]string{provider.LabelGroup: "a", provider.LabelHostname: "a-1"}, "2", true))
		b := newBench(t, client, nil, d)
		b.put(keeps)
		for i := range 5 {
			if err := b.after(time.Duration(i) * time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.VMs()) != 1 {
			t.Errorf("%s: the node was removed", what)
		}
	}
}

// The state that only a restart ends: VMs were made, none ever joined.
func TestWedgeAfterScaleUpFromZeroThatNeverJoins(t *testing.T) {
	logged := logs(t)
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	b.put(pod("p", "", "1500m"))
	if err := b.after(0); err != nil {
		t.Fatal(err)
	}
	if err := b.after(15*time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	if !b.saw("ScaleUpTimedOut") {
		t.Error("no event")
	}
	b.put(pod("second", "", "1500m"))
	for _, delay := range []time.Duration{time.Hour, 3 * time.Hour} {
		if err := b.after(delay); err != nil {
			t.Fatal(err)
		}
	}
	for _, words := range []string{"Readiness for node group a not found", "Node group a is not ready for scaleup - unhealthy"} {
		if !strings.Contains(logged(), words) {
			t.Errorf("%q is not in the log", words)
		}
	}
	if b.registry.groupHealthy("a") || b.provider.Groups()[0].TargetSize() != 1 || len(d.VMs()) != 1 {
		t.Errorf("healthy %v, target %d, VMs %v", b.registry.groupHealthy("a"), b.provider.Groups()[0].TargetSize(), d.VMs())
	}
}

func TestSizeIsCorrectedWhileSomeNodeIsRegistered(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), []string{"--scale-down-enabled=false"}, d)
	b.put(pod("p", "", "1500m"))
	b.put(pod("q", "", "1500m"))
	if err := b.after(0); err != nil || len(d.VMs()) != 2 {
		t.Fatalf("error %v, VMs %v", err, d.VMs())
	}
	first := d.VMs()[0]
	b.put(node(first+"-0123abcd", map[string]string{provider.LabelGroup: "a", provider.LabelHostname: first}, "2", true))
	for _, delay := range []time.Duration{16 * time.Minute, 32 * time.Minute} {
		if err := b.after(delay); err != nil {
			t.Fatal(err)
		}
	}
	if target := b.provider.Groups()[0].TargetSize(); target != 1 {
		t.Errorf("target %d", target)
	}
}

func TestDaemonDownStopsAllLoopsOnlyWhileItsGroupGrows(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	d.SetDown(true)
	if err := b.after(0); err != nil {
		t.Errorf("idle group: %v", err)
	}
	d.SetDown(false)
	b.put(pod("p", "", "1500m"))
	if err := b.after(10 * time.Second); err != nil || len(d.VMs()) != 1 {
		t.Fatalf("error %v, VMs %v", err, d.VMs())
	}
	d.SetDown(true)
	if err := b.after(20 * time.Second); err == nil || !strings.Contains(err.Error(), "failed to update node registry") {
		t.Errorf("growing group: %v", err)
	}
}

func TestHaltsWhenTooManyNodesAreUnready(t *testing.T) {
	d := slicertest.Start(t, "a")
	client := fake.NewClientset()
	for i := range 4 {
		name := fmt.Sprint("a-", i)
		d.AddVM(name)
		if err := client.Tracker().Add(node(name+"-0123abcd", map[string]string{provider.LabelGroup: "a", provider.LabelHostname: name}, "2", false)); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, client, nil, d)
	if err := b.after(0); err != nil || !b.saw("ClusterUnhealthy") {
		t.Errorf("error %v, or no event", err)
	}
}

func TestMinimumIsEnforcedOnlyOnRequest(t *testing.T) {
	for _, flags := range [][]string{nil, {"--enforce-node-group-min-size=true"}} {
		d := slicertest.Start(t, "a")
		b := newBench(t, fake.NewClientset(), flags, d)
		setMinimum(t, b, d)
		group := b.provider.Groups()[0]
		if err := b.after(0); err != nil {
			t.Fatal(err)
		}
		if wanted := len(flags); group.TargetSize() != wanted || len(d.VMs()) != wanted {
			t.Errorf("%v: target %d, VMs %v", flags, group.TargetSize(), d.VMs())
		}
	}
}

func setMinimum(t *testing.T, b *bench, d *slicertest.Daemon) {
	t.Helper()
	text := fmt.Sprintf("[global]\nk3s-url=\"https://a\"\nk3s-token=\"b\"\n[nodegroup %q]\nslicer-url=%q\nslicer-token=%q\nmin-size=\"1\"\n", d.Group, d.URL, slicertest.Token)
	file := filepath.Join(t.TempDir(), "cloud-config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	groups, err := provider.Build(context.Background(), file, b.cluster)
	if err != nil {
		t.Fatal(err)
	}
	b.provider, b.registry.provider, b.registry.instances.provider = groups, groups, groups
}

func TestExpanders(t *testing.T) {
	if _, err := newExpander("price", nil); err == nil {
		t.Error("price works without prices")
	}
	for _, name := range []string{"random", "most-pods", "least-waste"} {
		if _, err := newExpander(name, nil); err != nil {
			t.Error(err)
		}
	}
	small := &groupView{template: newNodeInfo(node("small", nil, "2", true))}
	large := &groupView{template: newNodeInfo(node("large", nil, "8", true))}
	one := option{group: small, nodes: 1, pods: []*corev1.Pod{pod("p", "", "1")}}
	two := option{group: large, nodes: 1, pods: []*corev1.Pod{pod("p", "", "1"), pod("q", "", "1")}}
	for name, wanted := range map[string]option{"most-pods": two, "least-waste": one} {
		pick, err := newExpander(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := pick([]option{one, two}); !slices.Equal(got.pods, wanted.pods) {
			t.Errorf("%s picked %s", name, got.group.template.node.Name)
		}
	}
}
