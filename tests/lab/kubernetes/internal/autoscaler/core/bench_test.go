package core

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
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
	if err := set.Parse(append([]string{"--scale-down-delay-after-add=30s", "--scale-down-unneeded-time=25s", "--node-delete-delay-after-taint=0s", "--expander=random"}, flags...)); err != nil {
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
	a, err := New(client, direct{client}, groups, &o, recorder, NewStatusMap(context.Background(), client, recorder, &o))
	if err != nil {
		t.Fatal(err)
	}
	a.deleter.evictPause, a.deleter.gonePause = 5*time.Millisecond, 5*time.Millisecond
	// What its start would do in the background.
	a.registry.instances.refresh(context.Background())
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
	if err := flags.Set("v", "4"); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	t.Cleanup(klogat.SetOutput(&text))
	return text.String
}

// direct reads the cluster itself, so that a test sees what it did.
type direct struct{ client kubernetes.Interface }

func (d direct) Nodes() ([]*corev1.Node, error) {
	list, err := d.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	return pointers(list.Items), err
}

func (d direct) Pods() ([]*corev1.Pod, error) {
	list, err := d.client.CoreV1().Pods(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
	return pointers(list.Items), err
}

func (d direct) Budgets() ([]*policyv1.PodDisruptionBudget, error) {
	list, err := d.client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
	return pointers(list.Items), err
}

func (d direct) DaemonSets() ([]*appsv1.DaemonSet, error) {
	list, err := d.client.AppsV1().DaemonSets(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
	return pointers(list.Items), err
}

func pointers[T any](items []T) []*T {
	found := make([]*T, 0, len(items))
	for i := range items {
		found = append(found, &items[i])
	}
	return found
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
