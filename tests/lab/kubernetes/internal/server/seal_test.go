package server

import (
	"context"
	"errors"
	"strings"
	"testing"
)

type memory map[string][]byte

func (m memory) List(_ context.Context, prefix string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for key, value := range m {
		if strings.HasPrefix(key, prefix) {
			found[key] = value
		}
	}
	return found, nil
}

func (m memory) Replace(_ context.Context, key string, value []byte, gone ...string) error {
	for _, name := range gone {
		delete(m, name)
	}
	m[key] = value
	return nil
}

// A server with another token than the cluster's must not come up; after a rotation the old one is such a token.
func TestSeal(t *testing.T) {
	ctx, data := context.Background(), memory{}
	for _, step := range []struct {
		what string
		do   func() error
		want error
	}{
		{"first start", func() error { return ensureSealed(ctx, data, "old", []byte("content")) }, nil},
		{"restart", func() error { return ensureSealed(ctx, data, "old", []byte("content")) }, nil},
		{"another token", func() error { return ensureSealed(ctx, data, "new", []byte("content")) }, errOtherToken},
		{"rotation", func() error { return reseal(ctx, data, "new", []byte("content")) }, nil},
		{"restart with the new token", func() error { return ensureSealed(ctx, data, "new", []byte("content")) }, nil},
		{"restart with the old token", func() error { return ensureSealed(ctx, data, "old", []byte("content")) }, errOtherToken},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
	}
	if content, err := unseal("new", data[sealKey("new")]); err != nil || string(content) != "content" {
		t.Errorf("unsealed %q, %v", content, err)
	}
}
