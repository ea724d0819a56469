// Package addons keeps the cluster in step with the manifests directory, with the library that the original uses for it.
//
// Source: k3s@af977adf pkg/deploy/controller.go, pkg/server/server.go (stageFiles).
package addons

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rancher/wrangler/v3/pkg/apply"
	"github.com/rancher/wrangler/v3/pkg/objectset"
	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
)

const (
	// scanEvery is the original's.
	scanEvery = 15 * time.Second
	// kindsAnnotation holds what an add-on's manifest was made of when it was last applied, for the next time.
	kindsAnnotation = "addon.k3s.cattle.io/gvks"
	kindsSeparator  = ";"
)

var addonResource = schema.GroupVersionResource{Group: "k3s.cattle.io", Version: "v1", Resource: "addons"}

// watcher applies manifests on behalf of one server. Every server has one: they agree, as they apply the same text.
type watcher struct {
	base     string
	disabled map[string]bool
	// helm: the Helm controller runs.
	helm      bool
	apply     apply.Apply
	addons    dynamic.ResourceInterface
	discovery discovery.DiscoveryInterface
	modified  map[string]time.Time
}

// Run stages the packaged manifests and charts, then applies every manifest now and on change until the context ends.
func Run(ctx context.Context, s *config.Server, path string) error {
	if err := stage(s); err != nil {
		return err
	}
	rest, err := kubeconfig.Load(path)
	if err != nil {
		return err
	}
	rest.UserAgent = "deploy@" + s.Name
	client, err := dynamic.NewForConfig(rest)
	if err != nil {
		return err
	}
	found, err := discovery.NewDiscoveryClientForConfig(rest)
	if err != nil {
		return err
	}
	w := &watcher{
		base: s.ServerDir("manifests"), disabled: disables(s), helm: !s.Critical.DisableHelmController,
		apply:  apply.New(found, apply.NewClientFactory(rest)).WithDynamicLookup(),
		addons: client.Resource(addonResource).Namespace(metav1.NamespaceSystem), discovery: found,
		modified: map[string]time.Time{},
	}
	go w.run(ctx)
	return nil
}

func (w *watcher) run(ctx context.Context) {
	for w.define(ctx) != nil {
		if !pause(ctx, time.Second) {
			return
		}
	}
	// At a server's start everything is applied, also what has not changed.
	for force := true; ; {
		if err := w.scan(ctx, force); err == nil {
			force = false
		} else if ctx.Err() == nil {
			logrus.Errorf("Failed to process config: %v", err)
		}
		if !pause(ctx, scanEvery) {
			return
		}
	}
}

// define makes the Addon kind known, and waits for the kinds of the Helm controller, which defines them itself.
func (w *watcher) define(ctx context.Context) error {
	objects, err := parse([]byte(definition))
	if err != nil {
		return err
	}
	if err := w.apply.WithSetID("k3s-crds").WithNoDelete().Apply(objects); err != nil {
		return err
	}
	if _, err := w.addons.List(ctx, metav1.ListOptions{Limit: 1}); err != nil || !w.helm {
		return err
	}
	_, err = w.discovery.ServerResourcesForGroupVersion("helm.cattle.io/v1")
	return err
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (w *watcher) scan(ctx context.Context, force bool) error {
	found, err := manifests(w.base)
	if err != nil {
		return err
	}
	var failures []error
	for _, file := range found {
		if w.disabled[file.addon()] || w.disabled[file.directory] {
			if err := w.remove(ctx, file); err != nil {
				failures = append(failures, fmt.Errorf("failed to delete %s: %w", file.path, err))
			}
			continue
		}
		if file.skipped || !force && file.modified.Equal(w.modified[file.path]) {
			continue
		}
		if err := w.deploy(ctx, file, force); err != nil {
			failures = append(failures, fmt.Errorf("failed to process %s: %w", file.path, err))
			continue
		}
		w.modified[file.path] = file.modified
	}
	return errors.Join(failures...)
}

func (w *watcher) deploy(ctx context.Context, file manifest, force bool) error {
	content, checksum, err := file.read()
	if err != nil {
		return err
	}
	addon, err := w.addon(ctx, file)
	if err != nil {
		return err
	}
	if known, _, _ := unstructured.NestedString(addon.Object, "spec", "checksum"); !force && known == checksum {
		return nil
	}
	objects, err := parse(content)
	if err != nil {
		return err
	}
	if err := w.apply.WithOwner(addon).WithGVK(w.known(addon, objects)...).Apply(objects); err != nil {
		return err
	}
	logrus.Infof("Applied manifest at %q", file.path)
	kinds := []string{}
	for _, kind := range objects.GVKs() {
		kinds = append(kinds, kind.String())
	}
	annotations := addon.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[kindsAnnotation] = strings.Join(kinds, kindsSeparator)
	addon.SetAnnotations(annotations)
	addon.Object["spec"] = map[string]any{"source": file.path, "checksum": checksum}
	_, err = w.addons.Update(ctx, addon, metav1.UpdateOptions{})
	return err
}

// remove deletes what a disabled manifest made, the manifest and its Addon.
func (w *watcher) remove(ctx context.Context, file manifest) error {
	content, _, err := file.read()
	if err != nil {
		return err
	}
	addon, err := w.addon(ctx, file)
	if err != nil {
		return err
	}
	objects, err := parse(content)
	if err != nil {
		return err
	}
	if err := w.apply.WithOwner(addon).WithGVK(w.known(addon, objects)...).ApplyObjects(); err != nil {
		return err
	}
	if err := file.delete(); err != nil {
		return err
	}
	err = w.addons.Delete(ctx, addon.GetName(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// addon is the object that stands for a manifest, made before the manifest is applied.
func (w *watcher) addon(ctx context.Context, file manifest) (*unstructured.Unstructured, error) {
	addon, err := w.addons.Get(ctx, file.addon(), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return addon, err
	}
	return w.addons.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "k3s.cattle.io/v1", "kind": "Addon",
		"metadata": map[string]any{"name": file.addon(), "namespace": metav1.NamespaceSystem},
		"spec":     map[string]any{"source": file.path},
	}}, metav1.CreateOptions{})
}

// known are the kinds among which the library looks for what the add-on made: those of now and of the last time, as far as
// the API server has them.
func (w *watcher) known(addon *unstructured.Unstructured, objects *objectset.ObjectSet) []schema.GroupVersionKind {
	kinds := objects.GVKs()
	for _, text := range strings.Split(addon.GetAnnotations()[kindsAnnotation], kindsSeparator) {
		version, kind, ok := strings.Cut(text, ", Kind=")
		if group, err := schema.ParseGroupVersion(version); ok && err == nil {
			kinds = append(kinds, group.WithKind(kind))
		}
	}
	served := []schema.GroupVersionKind{}
	for _, kind := range kinds {
		resources, err := w.discovery.ServerResourcesForGroupVersion(kind.GroupVersion().String())
		if err != nil {
			continue
		}
		for _, resource := range resources.APIResources {
			if resource.Kind == kind.Kind {
				served = append(served, kind)
				break
			}
		}
	}
	return served
}
