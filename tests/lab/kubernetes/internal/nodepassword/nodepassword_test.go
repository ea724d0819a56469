package nodepassword

import (
	"context"
	"errors"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
)

// The first to register a name owns it until its Node is deleted.
func TestEnsure(t *testing.T) {
	ctx, client := context.Background(), fake.NewClientset()
	if err := Ensure(ctx, client, "Node-1", "first"); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(ctx, client, "node-1", "first"); err != nil {
		t.Errorf("the same password: %v", err)
	}
	if err := Ensure(ctx, client, "node-1", "second"); !errors.Is(err, ErrRejected) {
		t.Errorf("another password: %v", err)
	}
	if err := Ensure(ctx, client, "node-2", "second"); err != nil {
		t.Errorf("another node: %v", err)
	}
}
