package addons

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
)

// applier applies manifests of whatever kind.
type applier struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	manager string
}

func newApplier(path, manager string) (*applier, error) {
	rest, err := kubeconfig.Load(path)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(rest)
	if err != nil {
		return nil, err
	}
	return &applier{dynamic: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found)), manager: manager}, nil
}

// apply applies every document; one that fails does not keep the others from being tried.
func (a *applier) apply(ctx context.Context, content []byte) error {
	return a.each(content, func(client dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		_, err := client.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: a.manager, Force: true})
		return err
	})
}

// remove deletes every document's object.
func (a *applier) remove(ctx context.Context, content []byte) error {
	return a.each(content, func(client dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		err := client.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func (a *applier) each(content []byte, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	var failures []error
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return errors.Join(append(failures, err)...)
		}
		if len(object.Object) == 0 {
			continue
		}
		if err := a.one(object, do); err != nil {
			failures = append(failures, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return errors.Join(failures...)
}

func (a *applier) one(object *unstructured.Unstructured, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	if object.IsList() {
		return object.EachListItem(func(item runtime.Object) error {
			return a.one(item.(*unstructured.Unstructured), do)
		})
	}
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		// The kind may have been defined since the last look.
		a.mapper.Reset()
		mapping, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return do(a.dynamic.Resource(mapping.Resource), object)
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	return do(a.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), object)
}
