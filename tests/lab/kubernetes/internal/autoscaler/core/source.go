package core

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Source is where a loop sees the cluster.
type Source interface {
	Nodes() ([]*corev1.Node, error)
	Pods() ([]*corev1.Pod, error)
	Budgets() ([]*policyv1.PodDisruptionBudget, error)
	DaemonSets() ([]*appsv1.DaemonSet, error)
}

// Informers are a Source that the API server keeps up to date.
type Informers struct {
	factory informers.SharedInformerFactory
}

// NewInformers watches what the original watches. That is more than is used here: the many first requests are what makes
// the original's start take seconds, as its client may make five a second.
func NewInformers(client kubernetes.Interface) *Informers {
	trim := func(object any) (any, error) {
		if about, err := meta.Accessor(object); err == nil {
			about.SetManagedFields(nil)
		}
		return object, nil
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	core, apps, storage := factory.Core().V1(), factory.Apps().V1(), factory.Storage().V1()
	for _, informer := range []interface {
		Informer() cache.SharedIndexInformer
	}{
		core.Nodes(), core.Pods(), core.Namespaces(), core.Services(), core.ReplicationControllers(),
		core.PersistentVolumes(), core.PersistentVolumeClaims(),
		apps.DaemonSets(), apps.ReplicaSets(), apps.StatefulSets(),
		storage.StorageClasses(), storage.CSINodes(), storage.CSIDrivers(), storage.CSIStorageCapacities(), storage.VolumeAttachments(),
		factory.Batch().V1().Jobs(), factory.Policy().V1().PodDisruptionBudgets(),
	} {
		informer.Informer()
	}
	return &Informers{factory: factory}
}

// Sync starts to watch and waits until everything was seen once.
func (i *Informers) Sync(stop <-chan struct{}) error {
	i.factory.Start(stop)
	for kind, synced := range i.factory.WaitForCacheSync(stop) {
		if !synced {
			return fmt.Errorf("unable to start and sync resource informers: %v", kind)
		}
	}
	return nil
}

// Nodes lists all nodes.
func (i *Informers) Nodes() ([]*corev1.Node, error) {
	return i.factory.Core().V1().Nodes().Lister().List(labels.Everything())
}

// Pods lists the pods of all namespaces.
func (i *Informers) Pods() ([]*corev1.Pod, error) {
	return i.factory.Core().V1().Pods().Lister().List(labels.Everything())
}

// Budgets lists the disruption budgets of all namespaces.
func (i *Informers) Budgets() ([]*policyv1.PodDisruptionBudget, error) {
	return i.factory.Policy().V1().PodDisruptionBudgets().Lister().List(labels.Everything())
}

// DaemonSets lists those of all namespaces.
func (i *Informers) DaemonSets() ([]*appsv1.DaemonSet, error) {
	return i.factory.Apps().V1().DaemonSets().Lister().List(labels.Everything())
}
