package core

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

var start = time.Now().Truncate(time.Second)

// bench is an autoscaler with fake surroundings: one full server and one or more host groups.
type bench struct {
	*Autoscaler
	t       *testing.T
	cluster *fake.Clientset
	events  chan string
}

func newBench(t *testing.T, client *fake.Clientset, flags []string, daemons ...*slicertest.Daemon) *bench {
	t.Helper()
	var o options.Options
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.AddFlags(set)
	if err := set.Parse(append([]string{"--scale-down-delay-after-add=30s", "--scale-down-unneeded-time=30s", "--expander=random"}, flags...)); err != nil {
		t.Fatal(err)
	}
	text := "[global]\nk3s-url=\"https://a:6443\"\nk3s-token=\"b\"\ndefault-max-size=\"2\"\n"
	for _, d := range daemons {
		text += fmt.Sprintf("[nodegroup %q]\nslicer-url=%q\nslicer-token=%q\n", d.Group, d.URL, slicertest.Token)
	}
	file := filepath.Join(t.TempDir(), "cloud-config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	groups, err := provider.Build(context.Background(), file, client)
	if err != nil {
		t.Fatal(err)
	}
	recorder := record.NewFakeRecorder(1000)
	a, err := New(client, groups, &o, recorder)
	if err != nil {
		t.Fatal(err)
	}
	a.deleter.poll = 5 * time.Millisecond
	b := &bench{Autoscaler: a, t: t, cluster: client, events: recorder.Events}
	b.put(node("server", nil, "1", true))
	return b
}

// after runs one loop so long after the start, and waits for what it began.
func (b *bench) after(delay time.Duration) error {
	err := b.RunOnce(context.Background(), start.Add(delay))
	b.background.Wait()
	return err
}

func (b *bench) put(object runtime.Object) {
	b.t.Helper()
	if err := b.cluster.Tracker().Add(object); err != nil {
		b.t.Fatal(err)
	}
}

// join registers a Node for every VM of a daemon that has none.
func (b *bench) join(d *slicertest.Daemon) {
	for _, vm := range d.VMs() {
		_ = b.cluster.Tracker().Add(node(vm+"-0123abcd", map[string]string{provider.LabelGroup: d.Group, provider.LabelHostname: vm}, "2", true))
	}
}

func (b *bench) saw(part string) bool {
	b.t.Helper()
	found := false
	for {
		select {
		case event := <-b.events:
			found = found || strings.Contains(event, part)
		default:
			return found
		}
	}
}

// logs catches what is logged until the test ends, at the manual's verbosity.
func logs(t *testing.T) func() string {
	t.Helper()
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	set := func(name, value string) {
		if err := flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	set("v", "4")
	set("logtostderr", "false")
	set("stderrthreshold", "FATAL")
	var text bytes.Buffer
	klog.SetOutput(&text)
	t.Cleanup(func() {
		klog.Flush()
		klog.SetOutput(io.Discard)
	})
	return func() string {
		klog.Flush()
		return text.String()
	}
}

func node(name string, labels map[string]string, cpus string, ready bool) *corev1.Node {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	size := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpus), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, CreationTimestamp: metav1.NewTime(start.Add(-time.Hour))},
		Spec:       corev1.NodeSpec{ProviderID: "k3s://" + name},
		Status: corev1.NodeStatus{
			Capacity: size, Allocatable: size, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}},
		},
	}
}

func pod(name, on, cpu string) *corev1.Pod {
	controller := true
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "set", Controller: &controller}},
		},
		Spec: corev1.PodSpec{
			NodeName:   on,
			Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}},
		},
	}
	if on == "" {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	}
	return p
}
