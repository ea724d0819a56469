// Package events records events as the original does: few of a kind, and each one in the log.
package events

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// Recorder returns a recorder that lets one event of a reason about an object through in five minutes, unless they are
// about the status, of which all count.
func Recorder(client kubernetes.Interface, duplicates bool) record.EventRecorder {
	broadcaster := record.NewBroadcaster()
	if !duplicates {
		broadcaster = record.NewBroadcasterWithCorrelatorOptions(record.CorrelatorOptions{
			QPS: 1. / 300., BurstSize: 1, LRUCacheSize: 8192, SpamKeyFunc: spamKey,
		})
	}
	broadcaster.StartRecordingToSink(logged{&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(metav1.NamespaceAll)}})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "cluster-autoscaler"})
}

// spamKey is what counts as events alike: an object gets one of a reason, so that of a node that goes only the mark is
// told, never its end. Of the status those with the same message are alike.
func spamKey(event *corev1.Event) string {
	about := event.InvolvedObject
	if about.Kind == "ConfigMap" && about.Namespace == metav1.NamespaceSystem && about.Name == "cluster-autoscaler-status" {
		return event.Message
	}
	return strings.Join([]string{
		event.Reason, event.Source.Component, event.Source.Host,
		about.Kind, about.Namespace, about.Name, string(about.UID), about.APIVersion,
	}, "")
}

// logged writes each event that is sent.
type logged struct{ record.EventSink }

func (l logged) Create(event *corev1.Event) (*corev1.Event, error) {
	say(event)
	return l.EventSink.Create(event)
}

func (l logged) Update(event *corev1.Event) (*corev1.Event, error) {
	say(event)
	return l.EventSink.Update(event)
}

func (l logged) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	say(event)
	return l.EventSink.Patch(event, data)
}

func say(event *corev1.Event) {
	klogat.Info(4, "event_sink_logging_wrapper.go:48", "Event(%#v): type: '%v' reason: '%v' %v", event.InvolvedObject, event.Type, event.Reason, event.Message)
}
