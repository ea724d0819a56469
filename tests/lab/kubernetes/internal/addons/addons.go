// Package addons keeps the cluster in step with the manifests directory.
package addons

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slicer-k3s.lab/kubernetes/internal/config"
)

// scanEvery is the original's.
const scanEvery = 15 * time.Second

var addonResource = schema.GroupVersionResource{Group: "k3s.cattle.io", Version: "v1", Resource: "addons"}

// Run stages the packaged manifests, then applies every manifest now and on change until the context ends.
func Run(ctx context.Context, s *config.Server, kubeconfig string) error {
	disabled, err := stage(s)
	if err != nil {
		return err
	}
	apply, err := newApplier(kubeconfig, "deploy@"+s.Name)
	if err != nil {
		return err
	}
	go func() {
		for !defined(ctx, apply, disabled) {
			if !pause(ctx, time.Second) {
				return
			}
		}
		seen := map[string]string{}
		for {
			for _, path := range manifests(s.ServerDir("manifests")) {
				if err := deploy(ctx, apply, path, seen); err != nil && ctx.Err() == nil {
					logrus.Errorf("Failed to process config: failed to process %s: %v", path, err)
				}
			}
			if !pause(ctx, scanEvery) {
				return
			}
		}
	}()
	return nil
}

// defined makes the Addon kind known and removes what has been disabled.
func defined(ctx context.Context, apply *applier, disabled map[string]string) bool {
	if err := apply.apply(ctx, []byte(definition)); err != nil {
		logrus.Debugf("addons not defined yet: %v", err)
		return false
	}
	for name, content := range disabled {
		err := apply.dynamic.Resource(addonResource).Namespace(metav1.NamespaceSystem).Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = apply.remove(ctx, []byte(content))
		}
		if err != nil {
			logrus.Debugf("addon %s not removed yet: %v", name, err)
			return false
		}
	}
	return true
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func manifests(dir string) []string {
	paths := []string{}
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || exists(path+".skip") {
			return nil
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".yaml", ".yml", ".json":
			paths = append(paths, path)
		}
		return nil
	})
	return paths
}

func deploy(ctx context.Context, apply *applier, path string, seen map[string]string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	checksum := hex.EncodeToString(sum[:])
	if seen[path] == checksum {
		return nil
	}
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	addon := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "k3s.cattle.io/v1", "kind": "Addon",
		"metadata": map[string]any{"name": name, "namespace": metav1.NamespaceSystem},
		"spec":     map[string]any{"source": path, "checksum": checksum},
	}}
	err = apply.apply(ctx, content)
	if _, addonErr := apply.dynamic.Resource(addonResource).Namespace(metav1.NamespaceSystem).Apply(ctx, name, addon, metav1.ApplyOptions{FieldManager: apply.manager, Force: true}); addonErr != nil {
		err = errors.Join(err, fmt.Errorf("addon %s: %w", name, addonErr))
	}
	if err == nil {
		seen[path] = checksum
		logrus.Infof("Applied manifest at %q", path)
	}
	return err
}
