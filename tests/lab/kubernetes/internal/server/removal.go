package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/process"
)

const (
	finalizers       = "wrangler.cattle.io/"
	labelEtcd        = "node-role.kubernetes.io/etcd"
	annotationGone   = "etcd.k3s.cattle.io/removed-node-name"
	leaseControllers = "k3s"
	leaseEtcd        = "k3s-etcd"
	resync           = 10 * time.Hour
)

// startRemoval runs the two controllers that want to see every Node before it goes, each on whichever server leads it.
func startRemoval(ctx context.Context, client kubernetes.Interface, member *etcd.Member, children *process.Group) {
	for lease, removal := range map[string]*removal{
		leaseControllers: {name: "node", client: client, remove: func(context.Context, *corev1.Node) error { return nil }},
		leaseEtcd:        {name: "managed-etcd-controller", client: client, remove: func(ctx context.Context, node *corev1.Node) error { return leave(ctx, member, node) }},
	} {
		if err := lead(ctx, client, lease, children, removal.run); err != nil {
			logrus.Errorf("Failed to start leader election for %s: %v", lease, err)
		}
	}
}

// leave takes a deleted server out of etcd.
func leave(ctx context.Context, member *etcd.Member, node *corev1.Node) error {
	if _, server := node.Labels[labelEtcd]; !server || node.Annotations[annotationGone] != "" {
		return nil
	}
	name, named := node.Annotations[annotationMember]
	if !named {
		return fmt.Errorf("node name annotation for node %s not found", node.Name)
	}
	address, known := node.Annotations[annotationAddress]
	if !known {
		return fmt.Errorf("node address annotation for node %s not found", node.Name)
	}
	logrus.Infof("Removing etcd member %s at %s from cluster due to node delete", name, address)
	return member.Remove(ctx, name, address)
}

// removal is a controller that keeps a finalizer on every Node, a server's or not, and does something before it lets a
// deleted one go.
type removal struct {
	name   string
	client kubernetes.Interface
	remove func(context.Context, *corev1.Node) error
	nodes  cache.Store
	queue  workqueue.TypedRateLimitingInterface[string]
}

func (r *removal) run(ctx context.Context) {
	r.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	informer := informers.NewSharedInformerFactory(r.client, resync).Core().V1().Nodes().Informer()
	r.nodes = informer.GetStore()
	enqueue := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			r.queue.Add(key)
		}
	}
	handlers := cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) }}
	if _, err := informer.AddEventHandler(handlers); err != nil {
		logrus.Errorf("Failed to watch nodes for %s: %v", r.name, err)
		return
	}
	go informer.Run(ctx.Done())
	go func() {
		<-ctx.Done()
		r.queue.ShutDown()
	}()
	for r.next(ctx) {
	}
}

func (r *removal) next(ctx context.Context) bool {
	key, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(key)
	err := r.sync(ctx, key)
	if err == nil || apierrors.IsNotFound(err) {
		r.queue.Forget(key)
		return true
	}
	if !apierrors.IsConflict(err) && !errors.Is(err, context.Canceled) {
		logrus.Errorf("error syncing '%s': handler %s: %v, requeuing", key, r.name, err)
	}
	r.queue.AddRateLimited(key)
	return true
}

func (r *removal) sync(ctx context.Context, key string) error {
	object, known, err := r.nodes.GetByKey(key)
	if err != nil || !known {
		return err
	}
	node, ok := object.(*corev1.Node)
	if !ok {
		return nil
	}
	has := slices.Contains(node.Finalizers, finalizers+r.name)
	switch {
	case node.DeletionTimestamp == nil && !has:
		node = node.DeepCopy()
		node.Finalizers = append(node.Finalizers, finalizers+r.name)
	case node.DeletionTimestamp != nil && has:
		if err := r.remove(ctx, node); err != nil {
			return err
		}
		node = node.DeepCopy()
		node.Finalizers = slices.DeleteFunc(node.Finalizers, func(f string) bool { return f == finalizers+r.name })
	default:
		return nil
	}
	_, err = r.client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
	return err
}
