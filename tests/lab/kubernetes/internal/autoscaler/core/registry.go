package core

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

const (
	// A node may be not ready for this long after it registered without counting as unready.
	nodeStartupTime = 15 * time.Minute
	// How long a group's list of instances is believed while the group is idle.
	instancesRefresh = 2 * time.Minute
)

type readiness struct {
	registered, ready, unready, notStarted, deleted int
}

type acceptableRange struct {
	min, max, target int
}

type scaleUpRequest struct {
	increase        int
	since, deadline time.Time
}

type incorrectSize struct {
	current, expected int
	since             time.Time
}

type instances struct {
	ids     []string
	fetched time.Time
}

// registry compares the nodes that groups should have with those that registered.
type registry struct {
	options  *options.Options
	provider *provider.Provider
	warn     func(reason, format string, args ...any)

	perGroup  map[string]*readiness
	total     readiness
	ranges    map[string]acceptableRange
	requests  map[string]*scaleUpRequest
	incorrect map[string]incorrectSize
	instances map[string]instances
	backoff   *backoff
}

func newRegistry(o *options.Options, p *provider.Provider, warn func(reason, format string, args ...any)) *registry {
	return &registry{
		options:   o,
		provider:  p,
		warn:      warn,
		requests:  map[string]*scaleUpRequest{},
		incorrect: map[string]incorrectSize{},
		instances: map[string]instances{},
		backoff:   newBackoff(o),
	}
}

// update takes in the nodes of a loop. It fails, and with it the loop for all groups, when the daemon of a group that
// is scaling up does not answer.
func (r *registry) update(ctx context.Context, nodes []*corev1.Node, now time.Time) error {
	unregistered, err := r.refreshInstances(ctx, nodes, now)
	if err != nil {
		return err
	}
	if unregistered > 0 {
		klog.V(1).Infof("%d unregistered nodes present", unregistered)
	}
	r.total, r.perGroup = readiness{}, map[string]*readiness{}
	for _, node := range nodes {
		exists := r.provider.HasInstance(ctx, node)
		r.total.count(node, exists, now)
		if group := r.provider.GroupOf(node); group != nil {
			if r.perGroup[group.Name()] == nil {
				r.perGroup[group.Name()] = &readiness{}
			}
			r.perGroup[group.Name()].count(node, exists, now)
		}
	}
	r.updateRanges()
	r.updateRequests(now)
	r.updateRanges()
	r.updateIncorrect(now)
	return nil
}

// refreshInstances also counts VMs whose id matches no node's provider id, which for this provider is every one:
// harmless, and known from the original's logs.
func (r *registry) refreshInstances(ctx context.Context, nodes []*corev1.Node, now time.Time) (int, error) {
	known := map[string]bool{}
	for _, node := range nodes {
		known[node.Spec.ProviderID] = true
	}
	unregistered := 0
	for _, group := range r.provider.Groups() {
		held := r.instances[group.Name()]
		scaling := r.requests[group.Name()] != nil
		if scaling || now.Sub(held.fetched) >= instancesRefresh {
			ids, err := group.Nodes(ctx)
			if err != nil {
				if scaling {
					return 0, err
				}
				klog.Errorf("Failed to fetch cloud provider node instances for %s: %v", group.Name(), err)
			}
			held = instances{ids: ids, fetched: now}
			r.instances[group.Name()] = held
		}
		for _, id := range held.ids {
			if !known[id] {
				unregistered++
			}
		}
	}
	return unregistered, nil
}

// count sorts a node. Nodes of no group have no VM to be found, so servers count among the deleted.
func (c *readiness) count(node *corev1.Node, exists bool, now time.Time) {
	c.registered++
	switch {
	case !exists:
		c.deleted++
	case isReady(node):
		c.ready++
	case node.CreationTimestamp.Add(nodeStartupTime).After(now):
		c.notStarted++
	default:
		c.unready++
	}
}

func (r *registry) updateRanges() {
	r.ranges = map[string]acceptableRange{}
	for _, group := range r.provider.Groups() {
		target := group.TargetSize()
		acceptable := acceptableRange{min: target, max: target, target: target}
		if request := r.requests[group.Name()]; request != nil {
			acceptable.min -= request.increase
		}
		r.ranges[group.Name()] = acceptable
	}
}

func (r *registry) updateRequests(now time.Time) {
	for name, request := range r.requests {
		provisioned := 0
		if have := r.perGroup[name]; have != nil {
			provisioned = have.registered - have.notStarted
		}
		if r.ranges[name].target <= provisioned {
			klog.V(4).Infof("Scale up in group %s finished successfully in %s", name, now.Sub(request.since))
			delete(r.requests, name)
			continue
		}
		if request.deadline.Before(now) {
			klog.Warningf("Scale-up timed out for node group %s after %s", name, now.Sub(request.since))
			r.warn("ScaleUpTimedOut", "Nodes added to group %s failed to register within %s", name, now.Sub(request.since))
			r.backoff.register(name, now)
			delete(r.requests, name)
		}
	}
}

func (r *registry) updateIncorrect(now time.Time) {
	next := map[string]incorrectSize{}
	for _, group := range r.provider.Groups() {
		acceptable := r.ranges[group.Name()]
		have := r.perGroup[group.Name()]
		if have == nil {
			if acceptable.min != 0 {
				klog.Warningf("Readiness for node group %s not found", group.Name())
			}
			continue
		}
		if have.registered >= acceptable.min && have.registered <= acceptable.max {
			continue
		}
		wrong := incorrectSize{current: have.registered, expected: acceptable.target, since: now}
		if before, known := r.incorrect[group.Name()]; known && before.current == wrong.current && before.expected == wrong.expected {
			wrong = before
		}
		next[group.Name()] = wrong
	}
	r.incorrect = next
}

// clusterHealthy is false when so many nodes are unready that acting would do harm.
func (r *registry) clusterHealthy() bool {
	limit := r.options.MaxUnreadyPercentage / 100 * float64(r.total.registered)
	return r.total.unready <= r.options.OkUnreadyCount || float64(r.total.unready) <= limit
}

// groupHealthy is false for a group of which too many nodes are missing. One that should have nodes but has no
// registered node at all stays so until a restart.
func (r *registry) groupHealthy(name string) bool {
	acceptable := r.ranges[name]
	have := r.perGroup[name]
	if have == nil {
		return acceptable.target == 0 || acceptable.min == 0
	}
	missing := acceptable.min - have.ready
	limit := r.options.MaxUnreadyPercentage / 100 * float64(have.ready+have.unready+have.notStarted)
	return missing <= r.options.OkUnreadyCount || float64(missing) <= limit
}

// upcoming counts the nodes that are expected of a group.
func (r *registry) upcoming(name string) int {
	count := r.ranges[name].target
	if have := r.perGroup[name]; have != nil {
		count -= have.ready + have.unready
	}
	return max(count, 0)
}

func (r *registry) registerScaleUp(name string, increase int, now time.Time) {
	request := r.requests[name]
	if request == nil {
		request = &scaleUpRequest{since: now}
		r.requests[name] = request
	}
	request.increase += increase
	request.deadline = now.Add(r.options.MaxNodeProvisionTime)
}

// fixSizes gives up nodes that never came. It cannot help groups without any registered node.
func (r *registry) fixSizes(ctx context.Context, now time.Time) error {
	for _, group := range r.provider.Groups() {
		wrong, known := r.incorrect[group.Name()]
		if !known || !wrong.since.Add(r.options.MaxNodeProvisionTime).Before(now) {
			continue
		}
		delta := wrong.current - wrong.expected
		if delta >= 0 {
			continue
		}
		klog.Infof("Decreasing size of %s, expected=%d current=%d delta=%d", group.Name(), wrong.expected, wrong.current, delta)
		if err := group.DecreaseTargetSize(ctx, delta); err != nil {
			return fmt.Errorf("failed to decrease %s: %w", group.Name(), err)
		}
	}
	return nil
}
