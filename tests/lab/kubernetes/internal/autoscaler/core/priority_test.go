package core

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

func TestTheGroupOfHighestPriorityGrows(t *testing.T) {
	for _, c := range []struct {
		what, text string
		grows      string
		event      string
	}{
		{"the higher number", "10:\n- ^b$\n0:\n- ^a$\n", "b", ""},
		{"a group that nothing matches is left alone", "0:\n- ^a$\n", "a", "node group b not found in priority expander configuration"},
		{"no number that is one", "x: [a]\n", "any", "Can't parse YAML with priorities in the configmap"},
		{"no config map", "", "any", ""},
	} {
		one, other := slicertest.Start(t, "a"), slicertest.Start(t, "b")
		b := newBench(t, fake.NewClientset(), []string{"--expander=priority"}, one, other)
		if c.text != "" {
			b.put(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "cluster-autoscaler-priority-expander", Namespace: "kube-system"},
				Data:       map[string]string{"priorities": c.text},
			})
		}
		b.put(pod("p", "", "1500m"))
		if err := b.after(0); err != nil {
			t.Fatal(err)
		}
		if grew := len(one.VMs()) + len(other.VMs()); grew != 1 {
			t.Errorf("%s: %d groups grew", c.what, grew)
		}
		for _, d := range []*slicertest.Daemon{one, other} {
			if c.grows == "any" {
				continue
			}
			if grew := len(d.VMs()) > 0; grew != (d.Group == c.grows) {
				t.Errorf("%s: group %s grew: %v", c.what, d.Group, grew)
			}
		}
		if c.event != "" && !b.saw(c.event) {
			t.Errorf("%s: no event with %q", c.what, c.event)
		}
	}
}
