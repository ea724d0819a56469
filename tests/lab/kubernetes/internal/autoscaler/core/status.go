package core

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"
)

const lastUpdated = "cluster-autoscaler.kubernetes.io/last-updated"

type status struct {
	Time             string        `json:"time"`
	ClusterName      string        `json:"clusterName,omitempty"`
	AutoscalerStatus string        `json:"autoscalerStatus"`
	ClusterWide      health        `json:"clusterWide"`
	NodeGroups       []groupStatus `json:"nodeGroups"`
}

type groupStatus struct {
	Name    string `json:"name"`
	Health  health `json:"health"`
	ScaleUp string `json:"scaleUp"`
}

type health struct {
	Status     string         `json:"status"`
	NodeCounts map[string]int `json:"nodeCounts"`
	Target     *int           `json:"cloudProviderTarget,omitempty"`
	MinSize    *int           `json:"minSize,omitempty"`
	MaxSize    *int           `json:"maxSize,omitempty"`
}

// writeStatus shows readers what the autoscaler believes; failing to do so stops nothing.
func (a *Autoscaler) writeStatus(ctx context.Context, now time.Time) {
	if !a.options.WriteStatus {
		return
	}
	told := status{
		Time:             now.UTC().String(),
		ClusterName:      a.options.ClusterName,
		AutoscalerStatus: "Running",
		ClusterWide:      health{Status: word(a.registry.clusterHealthy()), NodeCounts: a.registry.total.counts()},
	}
	for _, group := range a.provider.Groups() {
		have := a.registry.perGroup[group.Name()]
		if have == nil {
			have = &readiness{}
		}
		target, minimum, maximum := group.TargetSize(), group.MinSize(), group.MaxSize()
		scaling := "NoActivity"
		switch {
		case a.registry.requests[group.Name()] != nil:
			scaling = "InProgress"
		case a.registry.backoff.active(group.Name(), now):
			scaling = "Backoff"
		}
		told.NodeGroups = append(told.NodeGroups, groupStatus{
			Name:    group.Name(),
			ScaleUp: scaling,
			Health: health{
				Status:     word(a.registry.groupHealthy(group.Name())),
				NodeCounts: have.counts(),
				Target:     &target, MinSize: &minimum, MaxSize: &maximum,
			},
		})
	}
	text, err := yaml.Marshal(told)
	if err == nil {
		err = a.storeStatus(ctx, string(text), now)
	}
	if err != nil {
		klog.Errorf("Failed to write status configmap: %v", err)
	}
}

func (a *Autoscaler) storeStatus(ctx context.Context, text string, now time.Time) error {
	maps := a.client.CoreV1().ConfigMaps(a.options.Namespace)
	stored, err := maps.Get(ctx, a.options.StatusConfigMap, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return err
	}
	if missing {
		stored = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: a.options.StatusConfigMap, Namespace: a.options.Namespace}}
	}
	stored.Data = map[string]string{"status": text}
	if stored.Annotations == nil {
		stored.Annotations = map[string]string{}
	}
	stored.Annotations[lastUpdated] = now.UTC().String()
	if missing {
		_, err = maps.Create(ctx, stored, metav1.CreateOptions{})
	} else {
		_, err = maps.Update(ctx, stored, metav1.UpdateOptions{})
	}
	return err
}

// statusEvent records an event on the status configmap, which stands for the whole autoscaler.
func (a *Autoscaler) statusEvent(kind, reason, format string, args ...any) {
	if !a.options.WriteStatus {
		return
	}
	about := &corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: a.options.Namespace, Name: a.options.StatusConfigMap}
	a.recorder.Eventf(about, kind, reason, format, args...)
}

func (c *readiness) counts() map[string]int {
	return map[string]int{
		"registered": c.registered, "ready": c.ready, "unready": c.unready, "notStarted": c.notStarted, "beingDeleted": c.deleted,
	}
}

func word(healthy bool) string {
	if healthy {
		return "Healthy"
	}
	return "Unhealthy"
}
