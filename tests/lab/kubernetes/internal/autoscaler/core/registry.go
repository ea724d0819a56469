package core

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// A node may be not ready for this long after it registered without counting as unready.
const nodeStartupTime = 15 * time.Minute

// readyCounts are the names of nodes in each state.
type readyCounts struct {
	registered, ready, unready, notStarted, deleted []string
	time                                            time.Time
}

type acceptableRange struct {
	min, target int
}

type scaleUpRequest struct {
	increase        int
	since, deadline time.Time
}

type incorrectSize struct {
	current, expected int
	since             time.Time
}

// registry compares the nodes that groups should have with those that registered.
type registry struct {
	options   *options.Options
	provider  *provider.Provider
	status    *StatusMap
	instances *instances
	backoff   *backoff

	perGroup  map[string]readyCounts
	total     readyCounts
	ranges    map[string]acceptableRange
	requests  map[string]*scaleUpRequest
	incorrect map[string]incorrectSize
	// unregistered are the names of instances whose id is no provider id of a Node.
	unregistered []string
	// candidates are the nodes for scale-down by group, as of a time.
	candidates   map[string]int
	candidatesAt time.Time
	lastStatus   status
}

func newRegistry(o *options.Options, p *provider.Provider, status *StatusMap) *registry {
	return &registry{
		options:   o,
		provider:  p,
		status:    status,
		instances: newInstances(p),
		backoff:   newBackoff(o),
		requests:  map[string]*scaleUpRequest{},
		incorrect: map[string]incorrectSize{},
	}
}

// update takes in the nodes of a loop. It fails, and with it the loop for all groups, when the daemon of a group that
// is scaling up does not answer.
func (r *registry) update(ctx context.Context, nodes []*corev1.Node, now time.Time) error {
	for _, group := range r.provider.Groups() {
		if r.scalingUp(group.Name()) {
			r.instances.forget(group.Name())
		}
	}
	ids, err := r.instances.all(ctx)
	if err != nil {
		return err
	}
	deleted, known := map[string]bool{}, map[string]bool{}
	for _, node := range nodes {
		deleted[node.Name] = !r.provider.HasInstance(ctx, node)
		known[node.Spec.ProviderID] = true
	}
	r.unregistered = nil
	for _, id := range ids {
		if !known[id] {
			r.unregistered = append(r.unregistered, id)
		}
	}
	r.count(nodes, deleted, now)
	r.updateRanges()
	r.updateRequests(now)
	r.updateRanges()
	r.updateIncorrect(now)
	return nil
}

// count sorts the nodes. Those of no group have no VM to be found, so servers count among the deleted.
func (r *registry) count(nodes []*corev1.Node, deleted map[string]bool, now time.Time) {
	r.total, r.perGroup = readyCounts{time: now}, map[string]readyCounts{}
	for _, node := range nodes {
		if group := r.provider.GroupOf(node); group != nil {
			counts := r.perGroup[group.Name()]
			counts.time = now
			r.add(&counts, node, deleted[node.Name], now)
			r.perGroup[group.Name()] = counts
		}
		r.add(&r.total, node, deleted[node.Name], now)
	}
	for _, name := range r.unregistered {
		if r.provider.GroupOf(named(name)) == nil {
			klogat.Warning("clusterstate.go:677", "Nodegroup is nil for %s", name)
		}
	}
}

func (r *registry) add(to *readyCounts, node *corev1.Node, deleted bool, now time.Time) {
	r.provider.GroupOf(node)
	klogat.Info(1, "clusterstate.go:635", "Node %s: using maxNodeStartupTime = %v", node.Name, nodeStartupTime)
	to.registered = append(to.registered, node.Name)
	switch {
	case deleted:
		to.deleted = append(to.deleted, node.Name)
	case isReady(node):
		to.ready = append(to.ready, node.Name)
	case node.CreationTimestamp.Add(nodeStartupTime).After(now):
		to.notStarted = append(to.notStarted, node.Name)
	default:
		to.unready = append(to.unready, node.Name)
	}
}

func (r *registry) updateRanges() {
	r.ranges = map[string]acceptableRange{}
	for _, group := range r.provider.Groups() {
		target := group.TargetSize()
		acceptable := acceptableRange{min: target, target: target}
		if request := r.requests[group.Name()]; request != nil {
			acceptable.min -= request.increase
		}
		r.ranges[group.Name()] = acceptable
	}
}

// awaitsNodes tells whether a group has fewer nodes than it should.
func (r *registry) awaitsNodes(name string) bool {
	if len(r.ranges) == 0 {
		klogat.Warning("clusterstate.go:493", "AcceptableRanges have not been populated yet. Skip checking")
		return false
	}
	acceptable := r.ranges[name]
	counts, found := r.perGroup[name]
	if !found && acceptable.min != 0 {
		klogat.Warning("clusterstate.go:508", "Failed to find readiness information for %v", name)
	}
	return acceptable.target > len(counts.registered)-len(counts.notStarted)
}

func (r *registry) scalingUp(name string) bool {
	return r.awaitsNodes(name) && r.requests[name] != nil
}

func (r *registry) updateRequests(now time.Time) {
	for name, request := range r.requests {
		if !r.awaitsNodes(name) {
			klogat.Info(4, "clusterstate.go:285", "Scale up in group %v finished successfully in %v", name, now.Sub(request.since))
			delete(r.requests, name)
			continue
		}
		if request.deadline.Before(now) {
			took := now.Sub(request.since)
			klogat.Warning("clusterstate.go:291", "Scale-up timed out for node group %v after %v", name, took)
			r.status.event(corev1.EventTypeWarning, "ScaleUpTimedOut", "Nodes added to group %s failed to register within %v", name, took)
			r.failed(name, "timeout", fmt.Sprintf("Scale-up timed out for node group %v after %v", name, took), now)
			delete(r.requests, name)
		}
	}
}

// failed keeps a group out of the choice for a while.
func (r *registry) failed(name, code, message string, now time.Time) {
	until := r.backoff.register(name, code, message, now)
	klogat.Warning("clusterstate.go:326", "Disabling scale-up for node group %v until %v; errorClass=%v; errorCode=%v", name, until, "Other", code)
}

func (r *registry) updateIncorrect(now time.Time) {
	next := map[string]incorrectSize{}
	for _, group := range r.provider.Groups() {
		acceptable := r.ranges[group.Name()]
		counts, found := r.perGroup[group.Name()]
		if !found {
			if acceptable.min != 0 {
				klogat.Warning("clusterstate.go:720", "Readiness for node group %s not found", group.Name())
			}
			continue
		}
		if len(counts.registered) == acceptable.target {
			continue
		}
		wrong := incorrectSize{current: len(counts.registered), expected: acceptable.target, since: now}
		if before, known := r.incorrect[group.Name()]; known && before.current == wrong.current && before.expected == wrong.expected {
			wrong = before
		}
		next[group.Name()] = wrong
	}
	r.incorrect = next
}

// clusterHealthy is false when so many nodes are unready that acting would do harm.
func (r *registry) clusterHealthy() bool {
	unready := len(r.total.unready)
	limit := r.options.MaxUnreadyPercentage / 100 * float64(len(r.total.registered))
	return unready <= r.options.OkUnreadyCount || float64(unready) <= limit
}

// groupHealthy is false for a group of which too many nodes are missing. One that should have nodes but has no
// registered node at all stays so until a restart.
func (r *registry) groupHealthy(name string) bool {
	acceptable := r.ranges[name]
	counts, found := r.perGroup[name]
	if !found {
		return acceptable.target == 0 || acceptable.min == 0
	}
	missing := acceptable.min - len(counts.ready)
	limit := r.options.MaxUnreadyPercentage / 100 * float64(len(counts.ready)+len(counts.unready)+len(counts.notStarted))
	return missing <= r.options.OkUnreadyCount || float64(missing) <= limit
}

// upcoming counts the nodes that are expected of a group, and names those of them that have registered.
func (r *registry) upcoming(name string) (int, []string) {
	counts := r.perGroup[name]
	count := r.ranges[name].target - len(counts.ready) - len(counts.unready)
	if count <= 0 {
		return 0, nil
	}
	return count, counts.notStarted
}

func (r *registry) registerScaleUp(name string, increase int, now time.Time) {
	request := r.requests[name]
	if request == nil {
		request = &scaleUpRequest{}
		r.requests[name] = request
	}
	request.increase += increase
	request.since, request.deadline = now, now.Add(r.options.MaxNodeProvisionTime)
}

// setCandidates takes in the nodes that nobody needs.
func (r *registry) setCandidates(nodes []*corev1.Node, now time.Time) {
	r.candidates, r.candidatesAt = map[string]int{}, now
	for _, node := range nodes {
		if group := r.provider.GroupOf(node); group != nil {
			r.candidates[group.Name()]++
		}
	}
}

// fixSizes gives up nodes that never came. It cannot help groups without any registered node.
func (r *registry) fixSizes(ctx context.Context, now time.Time) (bool, error) {
	fixed := false
	for _, group := range r.provider.Groups() {
		wrong, known := r.incorrect[group.Name()]
		if !known || !wrong.since.Add(r.options.MaxNodeProvisionTime).Before(now) {
			continue
		}
		delta := wrong.current - wrong.expected
		if delta >= 0 {
			continue
		}
		klogat.Info(0, "static_autoscaler.go:746", "Decreasing size of %s, expected=%d current=%d delta=%d", group.Name(), wrong.expected, wrong.current, delta)
		if err := group.DecreaseTargetSize(ctx, delta); err != nil {
			return fixed, fmt.Errorf("failed to decrease %s: %w", group.Name(), err)
		}
		fixed = true
	}
	return fixed, nil
}
