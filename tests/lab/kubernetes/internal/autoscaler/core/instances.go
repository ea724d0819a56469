package core

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// instancesRefresh is how long a group's list of instances is believed while the group is idle.
const instancesRefresh = 2 * time.Minute

// instances holds what each group's VMs are.
type instances struct {
	provider *provider.Provider

	mutex sync.Mutex
	held  map[string][]string
}

func newInstances(p *provider.Provider) *instances {
	return &instances{provider: p, held: map[string][]string{}}
}

func (i *instances) get(group string) ([]string, bool) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	ids, found := i.held[group]
	return ids, found
}

func (i *instances) put(group string, ids []string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.held[group] = ids
}

func (i *instances) forget(group string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	delete(i.held, group)
}

// keep reads all groups again and again.
func (i *instances) keep(ctx context.Context) {
	wait.Until(func() { i.refresh(ctx) }, instancesRefresh, ctx.Done())
}

// refresh reads all groups. One that does not answer counts as empty.
func (i *instances) refresh(ctx context.Context) {
	klogat.Info(0, "node_instances_cache.go:156", "Start refreshing cloud provider node instances cache")
	began := time.Now()
	for _, group := range i.provider.Groups() {
		ids, err := group.Nodes(ctx)
		if err != nil {
			klogat.Error("node_instances_cache.go:164", "Failed to get cloud provider node instance for node group %v, error %v", group.Name(), err)
		}
		i.put(group.Name(), ids)
	}
	klogat.Info(0, "node_instances_cache.go:168", "Refresh cloud provider node instances cache finished, refresh took %v", time.Since(began))
}

// all is the instances of all groups; those that are not held are read, twice if need be.
func (i *instances) all(ctx context.Context) ([]string, error) {
	for _, group := range i.provider.Groups() {
		if _, found := i.get(group.Name()); found {
			continue
		}
		ids, err := group.Nodes(ctx)
		if err != nil {
			klogat.Error("node_instances_cache.go:106", "Failed to fetch cloud provider node instances for %v, error %v", group.Name(), err)
			continue
		}
		i.put(group.Name(), ids)
	}
	var all []string
	for _, group := range i.provider.Groups() {
		ids, found := i.get(group.Name())
		if !found {
			read, err := group.Nodes(ctx)
			if err != nil {
				return nil, err
			}
			i.put(group.Name(), read)
			ids = read
		}
		all = append(all, ids...)
	}
	return all, nil
}
