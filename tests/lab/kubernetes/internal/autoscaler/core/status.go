package core

import (
	"context"
	"sync"
	"time"

	"gopkg.in/yaml.v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
)

const (
	lastUpdated = "cluster-autoscaler.kubernetes.io/last-updated"
	timeFormat  = "2006-01-02 15:04:05.999999999 -0700 MST"
)

// status is what the ConfigMap holds, in the original's structure: clusterstate/api/types.go.
type status struct {
	Time             string        `yaml:"time,omitempty"`
	AutoscalerStatus string        `yaml:"autoscalerStatus,omitempty"`
	Message          string        `yaml:"message,omitempty"`
	ClusterWide      clusterStatus `yaml:"clusterWide,omitempty"`
	NodeGroups       []groupStatus `yaml:"nodeGroups,omitempty"`
}

type clusterStatus struct {
	Health    clusterHealth `yaml:"health,omitempty"`
	ScaleUp   scaleUpStatus `yaml:"scaleUp,omitempty"`
	ScaleDown downStatus    `yaml:"scaleDown,omitempty"`
}

type groupStatus struct {
	Name      string        `yaml:"name,omitempty"`
	Health    groupHealth   `yaml:"health,omitempty"`
	ScaleUp   groupUpStatus `yaml:"scaleUp,omitempty"`
	ScaleDown downStatus    `yaml:"scaleDown,omitempty"`
}

type clusterHealth struct {
	Status     string     `yaml:"status,omitempty"`
	NodeCounts nodeCounts `yaml:"nodeCounts,omitempty"`
	times      `yaml:",inline"`
}

type groupHealth struct {
	Status     string     `yaml:"status,omitempty"`
	NodeCounts nodeCounts `yaml:"nodeCounts,omitempty"`
	Target     int        `yaml:"cloudProviderTarget"`
	MinSize    int        `yaml:"minSize"`
	MaxSize    int        `yaml:"maxSize"`
	times      `yaml:",inline"`
}

// nodeCounts is left out where all are zero.
type nodeCounts struct {
	Registered       registered `yaml:"registered,omitempty"`
	LongUnregistered int        `yaml:"longUnregistered"`
	Unregistered     int        `yaml:"unregistered"`
}

type registered struct {
	Total        int     `yaml:"total"`
	Ready        int     `yaml:"ready"`
	NotStarted   int     `yaml:"notStarted"`
	BeingDeleted int     `yaml:"beingDeleted,omitempty"`
	Unready      unready `yaml:"unready,omitempty"`
}

type unready struct {
	Total           int `yaml:"total"`
	ResourceUnready int `yaml:"resourceUnready"`
}

type scaleUpStatus struct {
	Status string `yaml:"status,omitempty"`
	times  `yaml:",inline"`
}

type groupUpStatus struct {
	Status      string      `yaml:"status,omitempty"`
	BackoffInfo backoffInfo `yaml:"backoffInfo,omitempty"`
	times       `yaml:",inline"`
}

type backoffInfo struct {
	ErrorCode    string `yaml:"errorCode,omitempty"`
	ErrorMessage string `yaml:"errorMessage,omitempty"`
}

type downStatus struct {
	Status     string `yaml:"status,omitempty"`
	Candidates int    `yaml:"candidates,omitempty"`
	times      `yaml:",inline"`
}

// times say when a state was looked at, and since when it is so.
type times struct {
	Probe      metav1.Time `yaml:"lastProbeTime,omitempty"`
	Transition metav1.Time `yaml:"lastTransitionTime,omitempty"`
}

// since is the times of a state now, given the one before.
func since(now time.Time, current, last string, before times) times {
	found := times{Probe: metav1.Time{Time: now}, Transition: before.Transition}
	if current != last {
		found.Transition = found.Probe
	}
	return found
}

// currentStatus is what the autoscaler believes.
func (a *Autoscaler) currentStatus(now time.Time) status {
	r := a.registry
	last := map[string]groupStatus{}
	for _, group := range r.lastStatus.NodeGroups {
		last[group.Name] = group
	}
	found := status{AutoscalerStatus: "Running"}
	scaling, candidates := false, 0
	for _, group := range a.provider.Groups() {
		name, before, counts := group.Name(), last[group.Name()], r.perGroup[group.Name()]
		one := groupStatus{Name: name}
		one.Health = groupHealth{
			Status:     word(r.groupHealthy(name)),
			NodeCounts: counts.nodeCounts(),
			Target:     r.ranges[name].target,
			MinSize:    group.MinSize(),
			MaxSize:    group.MaxSize(),
		}
		one.Health.times = since(counts.time, one.Health.Status, before.Health.Status, before.Health.times)
		one.ScaleUp = r.upStatus(name, now)
		one.ScaleUp.times = since(counts.time, one.ScaleUp.Status, before.ScaleUp.Status, before.ScaleUp.times)
		one.ScaleDown = r.downStatus(r.candidates[name], before.ScaleDown)
		found.NodeGroups = append(found.NodeGroups, one)
		scaling = scaling || one.ScaleUp.Status == "InProgress"
		candidates += r.candidates[name]
	}
	before := r.lastStatus.ClusterWide
	whole := &found.ClusterWide
	whole.Health = clusterHealth{Status: word(r.clusterHealthy()), NodeCounts: r.total.nodeCounts()}
	whole.Health.times = since(r.total.time, whole.Health.Status, before.Health.Status, before.Health.times)
	whole.ScaleUp = scaleUpStatus{Status: "NoActivity"}
	if scaling {
		whole.ScaleUp.Status = "InProgress"
	}
	whole.ScaleUp.times = since(r.total.time, whole.ScaleUp.Status, before.ScaleUp.Status, before.ScaleUp.times)
	whole.ScaleDown = r.downStatus(candidates, before.ScaleDown)
	r.lastStatus = found
	return found
}

func (r *registry) upStatus(name string, now time.Time) groupUpStatus {
	switch {
	case r.scalingUp(name):
		return groupUpStatus{Status: "InProgress"}
	case !r.groupHealthy(name):
		return groupUpStatus{Status: "Unhealthy"}
	case r.backoff.active(name, now):
		failure := r.backoff.pauses[name]
		return groupUpStatus{Status: "Backoff", BackoffInfo: backoffInfo{failure.code, bounded(failure.message)}}
	}
	return groupUpStatus{Status: "NoActivity"}
}

func (r *registry) downStatus(candidates int, before downStatus) downStatus {
	found := downStatus{Status: "NoCandidates", Candidates: candidates}
	if candidates > 0 {
		found.Status = "CandidatesPresent"
	}
	found.times = since(r.candidatesAt, found.Status, before.Status, before.times)
	return found
}

func (c *readyCounts) nodeCounts() nodeCounts {
	return nodeCounts{Registered: registered{
		Total: len(c.registered), Ready: len(c.ready), NotStarted: len(c.notStarted), BeingDeleted: len(c.deleted),
		Unready: unready{Total: len(c.unready)},
	}}
}

// bounded cuts an error's text as the original does.
func bounded(text string) string {
	const limit, mark = 500, "<truncated>"
	if len(text) <= limit {
		return text
	}
	return text[:limit-len(mark)] + mark
}

func word(healthy bool) string {
	if healthy {
		return "Healthy"
	}
	return "Unhealthy"
}

// StatusMap is the ConfigMap that stands for the whole autoscaler: it holds the status, and events are recorded on it.
type StatusMap struct {
	client          kubernetes.Interface
	recorder        record.EventRecorder
	namespace, name string
	active          bool

	mutex  sync.Mutex
	object *corev1.ConfigMap
}

// NewStatusMap says that the autoscaler is being initialized, if a status is wished for at all.
func NewStatusMap(ctx context.Context, client kubernetes.Interface, recorder record.EventRecorder, o *options.Options) *StatusMap {
	s := &StatusMap{client: client, recorder: recorder, namespace: o.Namespace, name: o.StatusConfigMap, active: o.WriteStatus}
	if s.active && s.write(ctx, status{AutoscalerStatus: "Initializing"}, time.Now()) != nil {
		klogat.Error("autoscaling_context.go:137", "Failed to initialize status configmap, unable to write status events")
		s.active = false
	}
	return s
}

// write stores a status; failing to do so stops nothing.
func (s *StatusMap) write(ctx context.Context, what status, now time.Time) error {
	what.Time = now.Format(timeFormat)
	text, err := yaml.Marshal(what)
	if err != nil {
		return err
	}
	stored, err := s.store(ctx, string(text), what.Time)
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.object = stored
	return nil
}

func (s *StatusMap) store(ctx context.Context, text, when string) (*corev1.ConfigMap, error) {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	stored, err := maps.Get(ctx, s.name, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		klogat.Error("status.go:138", "Failed to retrieve status configmap for update: %v", err)
		return nil, err
	}
	if missing {
		stored = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: s.namespace}}
	}
	if stored.Data == nil {
		stored.Data = map[string]string{}
	}
	if stored.Annotations == nil {
		stored.Annotations = map[string]string{}
	}
	stored.Data["status"], stored.Annotations[lastUpdated] = text, when
	if missing {
		stored, err = maps.Create(ctx, stored, metav1.CreateOptions{})
	} else {
		stored, err = maps.Update(ctx, stored, metav1.UpdateOptions{})
	}
	if err != nil {
		klogat.Error("status.go:138", "Failed to write status configmap: %v", err)
	}
	return stored, err
}

// event records an event on the ConfigMap.
func (s *StatusMap) event(kind, reason, format string, args ...any) {
	s.mutex.Lock()
	about := s.object
	s.mutex.Unlock()
	if s.active && about != nil {
		s.recorder.Eventf(about, kind, reason, format, args...)
	}
}

// Delete removes the ConfigMap, which an autoscaler that ends does.
func (s *StatusMap) Delete(ctx context.Context) {
	if !s.active {
		return
	}
	if err := s.client.CoreV1().ConfigMaps(s.namespace).Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil {
		klogat.Error("status.go:155", "Failed to delete status configmap")
	}
}
