package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

// busyBench is an autoscaler with three servers, two groups and so many agents, split between the groups.
func busyBench(t *testing.T, agents int, flags ...string) *bench {
	t.Helper()
	daemons := []*slicertest.Daemon{slicertest.Start(t, "k3s-agent-1"), slicertest.Start(t, "k3s-agent-2")}
	client := fake.NewClientset()
	for i := range agents {
		d := daemons[i%2]
		name := fmt.Sprintf("%s-%d", d.Group, i)
		d.AddVM(name)
		labels := map[string]string{provider.LabelGroup: d.Group, provider.LabelHostname: name}
		if err := client.Tracker().Add(node(name+"-0123abcd", labels, "2", true)); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, client, append([]string{"--scale-down-unneeded-time=1h"}, flags...), daemons...)
	for i := range 2 {
		b.put(node(fmt.Sprint("server-", i), map[string]string{"a": "b"}, "1", true))
	}
	return b
}

// A reader of the log must cope with the mass of it: these are the numbers of the original, of which a tail of some
// hundred lines may hold no beginning of a loop.
func TestLinesOfALoop(t *testing.T) {
	for _, c := range []struct{ agents, least, most int }{{0, 105, 135}, {2, 290, 340}, {3, 359, 440}, {6, 560, 760}} {
		logged := logs(t)
		b := busyBench(t, c.agents)
		if c.agents > 3 {
			// So many are there because of pods.
			for i := range c.agents {
				group := i%2 + 1
				b.put(pod(fmt.Sprint("p", i), fmt.Sprintf("k3s-agent-%d-%d-0123abcd", group, i), "1500m"))
			}
		}
		for i := range 3 {
			if err := b.after(time.Duration(i) * 10 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		loops := strings.Split(logged(), "Starting main loop")
		lines := strings.Count(loops[2], "\n")
		t.Logf("%d agents: %d lines", c.agents, lines)
		if lines < c.least || lines > c.most {
			t.Errorf("not between %d and %d", c.least, c.most)
		}
	}
}

func TestNoiseOfAHealthyCluster(t *testing.T) {
	logged := logs(t)
	b := busyBench(t, 2)
	for i := range 2 {
		if err := b.after(time.Duration(i) * 10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	text := logged()
	for words, times := range map[string]int{
		"clusterstate.go:493] AcceptableRanges have not been populated yet. Skip checking":  2,
		"clusterstate.go:677] Nodegroup is nil for k3s-agent-1-0-0123abcd":                  2,
		"static_autoscaler.go:841] No node group for node k3s-agent-2-1-0123abcd, skipping": 2,
		"static_autoscaler.go:412] 2 unregistered nodes present":                            2,
		"taints.go:234] Successfully added DeletionCandidateOfClusterAutoscaler on node":    2,
	} {
		if found := strings.Count(text, words); found != times {
			t.Errorf("%d times %q", found, words)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "F") {
			t.Errorf("trouble in a healthy cluster: %s", line)
		}
	}
}

// What troubleshooting says to look for.
func TestWordsOfTrouble(t *testing.T) {
	logged := logs(t)
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	d.AddVM("a-2")
	agent := func(name string) *corev1.Node {
		return node(name+"-0123abcd", map[string]string{provider.LabelGroup: "a", provider.LabelHostname: name}, "2", true)
	}
	b := newBench(t, fake.NewClientset(agent("a-1"), agent("a-2")), nil, d)
	keeper := pod("keeper", "a-1-0123abcd", "100m")
	keeper.OwnerReferences = nil
	b.put(keeper)
	b.put(pod("busy", "a-2-0123abcd", "1500m"))
	huge := pod("huge", "", "4")
	b.put(huge)
	if err := b.after(0); err != nil {
		t.Fatal(err)
	}
	d.SetDown(true)
	if err := b.after(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	text := logged()
	for _, words := range []string{
		"cluster.go:146] Node a-1-0123abcd cannot be removed: default/keeper is not replicated",
		"eligibility.go:163] Node a-2-0123abcd unremovable: cpu requested (75% of allocatable) is above the scale-down utilization threshold",
		"eligibility.go:104] Scale-down calculation: ignoring 1 nodes unremovable in the last 5m0s",
		"klogx.go:87] Pod default/huge is unschedulable",
		`orchestrator.go:420] Skipping node group a - max size reached`,
		"orchestrator.go:168] No expansion options",
		"slicer_cloud_provider.go:216] Slicer: Failed to get nodes for group a: API request failed: 500 Internal Server Error - ",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in the log", words)
		}
	}
}

// A daemon that is silent loses its agent's Node and keeps the VM; without the permission it is the other way round.
func TestWordsOfAFailedRemoval(t *testing.T) {
	logged := logs(t)
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	labels := map[string]string{provider.LabelGroup: "a", provider.LabelHostname: "a-1"}
	b := newBench(t, fake.NewClientset(node("a-1-0123abcd", labels, "2", true)), nil, d)
	for i := range 4 {
		d.SetDown(i == 3)
		if err := b.after(time.Duration(i) * 10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.VMs()) != 1 || b.provider.Groups()[0].TargetSize() != 0 {
		t.Errorf("VMs %v, target %d", d.VMs(), b.provider.Groups()[0].TargetSize())
	}
	words := "slicer_node_group.go:198] Slicer: Failed to delete node a-1 from Slicer API: API request failed: 500 Internal Server Error - "
	if !strings.Contains(logged(), words) {
		t.Errorf("no %q in the log", words)
	}
	if !b.saw(`ScaleDownEmpty Scale-down: removing empty node "a-1-0123abcd"`) {
		t.Error("no event on the status")
	}
}
