package core

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// The chart's role must allow each kind that is watched: a start waits for all of them.
func TestInformersSeeTheCluster(t *testing.T) {
	pending := pod("p", "", "1")
	client := fake.NewClientset(node("server", nil, "1", true), pending, &corev1.Namespace{})
	source := NewInformers(client)
	if err := source.Sync(t.Context().Done()); err != nil {
		t.Fatal(err)
	}
	seen, err := takeSnapshot(source)
	if err != nil || len(seen.nodes) != 1 || len(seen.pending) != 1 {
		t.Errorf("error %v, seen %+v", err, seen)
	}
	kinds := map[string]bool{}
	for _, action := range client.Actions() {
		kinds[action.GetResource().Resource] = true
	}
	if len(kinds) != 17 {
		t.Errorf("%d kinds: %v", len(kinds), kinds)
	}
}
