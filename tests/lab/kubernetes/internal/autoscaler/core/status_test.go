package core

import (
	"context"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

func storedStatus(t *testing.T, b *bench) (string, map[string]any) {
	t.Helper()
	stored, err := b.cluster.CoreV1().ConfigMaps("kube-system").Get(context.Background(), "cluster-autoscaler-status", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]any
	if err := yaml.Unmarshal([]byte(stored.Data["status"]), &found); err != nil {
		t.Fatal(err)
	}
	if stored.Annotations[lastUpdated] != found["time"] {
		t.Errorf("updated %q, status of %v", stored.Annotations[lastUpdated], found["time"])
	}
	return stored.Data["status"], found
}

// The whole text, as the original's types and YAML library write it.
func TestStatusIsThatOfTheOriginal(t *testing.T) {
	d := slicertest.Start(t, "a")
	b := newBench(t, fake.NewClientset(), nil, d)
	if text, _ := storedStatus(t, b); !strings.HasSuffix(text, "\nautoscalerStatus: Initializing\n") {
		t.Errorf("before the first loop %q", text)
	}
	if err := b.after(0); err != nil {
		t.Fatal(err)
	}
	when := start.Format(time.RFC3339)
	times := func(indent string) string {
		return indent + "lastProbeTime: \"" + when + "\"\n" + indent + "lastTransitionTime: \"" + when + "\"\n"
	}
	wanted := "time: " + start.Format(timeFormat) + `
autoscalerStatus: Running
clusterWide:
  health:
    status: Healthy
    nodeCounts:
      registered:
        total: 1
        ready: 0
        notStarted: 0
        beingDeleted: 1
      longUnregistered: 0
      unregistered: 0
` + times("    ") + `  scaleUp:
    status: NoActivity
` + times("    ") + `  scaleDown:
    status: NoCandidates
` + times("    ") + `nodeGroups:
- name: a
  health:
    status: Healthy
    cloudProviderTarget: 0
    minSize: 0
    maxSize: 2
  scaleUp:
    status: NoActivity
  scaleDown:
    status: NoCandidates
` + times("    ")
	if text, _ := storedStatus(t, b); text != wanted {
		t.Errorf("status\n%s\nwanted\n%s", text, wanted)
	}
}

// Readers must go by groups alone: a Node whose VM is gone counts as being deleted, as every server does.
func TestStatusOfAGroup(t *testing.T) {
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	labels := func(name string) map[string]string {
		return map[string]string{provider.LabelGroup: "a", provider.LabelHostname: name}
	}
	b := newBench(t, fake.NewClientset(node("a-1-0123abcd", labels("a-1"), "2", true), node("a-2-0123abcd", labels("a-2"), "2", true)), nil, d)
	group := func() map[any]any {
		_, found := storedStatus(t, b)
		return found["nodeGroups"].([]any)[0].(map[any]any)
	}
	if err := b.after(0); err != nil {
		t.Fatal(err)
	}
	counts := group()["health"].(map[any]any)["nodeCounts"].(map[any]any)["registered"].(map[any]any)
	if counts["total"] != 2 || counts["ready"] != 1 || counts["beingDeleted"] != 1 {
		t.Errorf("counts %v", counts)
	}
	down := group()["scaleDown"].(map[any]any)
	if down["status"] != "CandidatesPresent" || down["candidates"] != 2 {
		t.Errorf("scale-down %v", down)
	}
	b.put(pod("p", "", "1900m"))
	b.put(pod("q", "", "1900m"))
	b.put(pod("r", "", "1900m"))
	d.SetRoom(0)
	if err := b.after(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	up := group()["scaleUp"].(map[any]any)
	if up["status"] != "Backoff" || !strings.Contains(up["backoffInfo"].(map[any]any)["errorMessage"].(string), "no room") {
		t.Errorf("scale-up %v", up)
	}
}

func TestStatusGoesWithTheAutoscaler(t *testing.T) {
	b := newBench(t, fake.NewClientset(), nil, slicertest.Start(t, "a"))
	b.status.Delete(context.Background())
	list, err := b.cluster.CoreV1().ConfigMaps("kube-system").List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("left %v, %v", list.Items, err)
	}
}
