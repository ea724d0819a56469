package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicertest"
)

func writeConfig(t *testing.T, sections ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cloud-config")
	text := "[global]\nk3s-url=\"https://192.168.137.2:6443\"\nk3s-token=\"secret\"\n" + strings.Join(sections, "")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func section(d *slicertest.Daemon) string {
	return fmt.Sprintf("[nodegroup %q]\nslicer-url=%q\nslicer-token=%q\nmax-size=\"2\"\n", d.Group, d.URL, slicertest.Token)
}

func worker(group, hostname string) *corev1.Node {
	labels := map[string]string{LabelGroup: group, LabelHostname: hostname}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: hostname + "-0123abcd", Labels: labels}}
}

func build(t *testing.T, client kubernetes.Interface, d *slicertest.Daemon) *Provider {
	t.Helper()
	p, err := Build(context.Background(), writeConfig(t, section(d)), client)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The words are what people and tools look for in the logs.
func TestStartIsFatalInTheSameWords(t *testing.T) {
	alive, dead := slicertest.Start(t, "a"), slicertest.Start(t, "b")
	dead.SetDown(true)
	broken := writeConfig(t, "[nodegroup.x]\n")
	bundle := writeConfig(t, section(alive))
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	// The directory that a volume mount makes where a file is expected.
	withBundle := strings.Replace(string(text), "[global]\n", fmt.Sprintf("[global]\nca-bundle=%q\n", t.TempDir()), 1)
	if err := os.WriteFile(bundle, []byte(withBundle), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ path, words string }{
		{"", "No config file provided"},
		{"/nowhere", "Could not open cloud provider configuration file"},
		{broken, "Failed to parse config, error:"},
		{bundle, "Failed to create HTTP client with CA bundle for"},
		{writeConfig(t, section(alive), section(dead)), "Failed to fetch node groups from " + dead.URL + ", error: API request failed: 500 Internal Server Error - "},
		{writeConfig(t, strings.Replace(section(alive), `"a"`, `"A"`, 1)), "Failed to find slicer host group with name"},
		{writeConfig(t, strings.Replace(section(alive), slicertest.Token, "other", 1)), `error: API request failed: 401 Unauthorized - {"error":"unauthorized"}`},
	}
	for _, c := range cases {
		if _, err := Build(context.Background(), c.path, fake.NewClientset()); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("error %v, want %q", err, c.words)
		}
	}
}

func TestTargetCountsOnlyVMsWithNodes(t *testing.T) {
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	d.AddVM("a-2")
	p := build(t, fake.NewClientset(worker("a", "a-1"), worker("a", "a-9")), d)
	if target := p.Groups()[0].TargetSize(); target != 1 {
		t.Errorf("target %d", target)
	}
}

func TestIncreaseSendsTheContract(t *testing.T) {
	d := slicertest.Start(t, "a")
	group := build(t, fake.NewClientset(), d).Groups()[0]
	if err := group.IncreaseSize(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	posts := d.Calls("POST")
	if len(posts) != 3 || posts[0].Body != `{"name":"k3s-token","data":"c2VjcmV0"}` {
		t.Fatalf("posts %+v", posts)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(posts[1].Body), &body); err != nil {
		t.Fatal(err)
	}
	script, _ := body["userdata"].(string)
	if len(body) != 2 || fmt.Sprint(body["secrets"]) != "[k3s-token]" {
		t.Errorf("body %v", body)
	}
	if !strings.HasPrefix(script, "\n#!/bin/bash\n") || strings.Contains(script, "secret\n") {
		t.Errorf("userdata %q", script)
	}
	for _, part := range []string{
		"/run/slicer/secrets/k3s-token", `K3S_URL="https://192.168.137.2:6443"`, "curl -sfL https://get.k3s.io | sh -s -", "--with-node-id",
		"--node-label slicer/hostgroup=a ", "--node-label k3sup.dev/node-type=agent", "--node-label slicer/hostname=$HOSTNAME",
	} {
		if !strings.Contains(script, part) {
			t.Errorf("userdata lacks %q", part)
		}
	}
	if err := group.IncreaseSize(context.Background(), 1); err == nil || group.TargetSize() != 2 {
		t.Errorf("grew past the maximum: %v, target %d", err, group.TargetSize())
	}
}

// A stale join token stays for ever: whoever rotates it must update it on every daemon.
func TestSecretIsNeverUpdated(t *testing.T) {
	d := slicertest.Start(t, "a")
	d.AddSecret("k3s-token")
	group := build(t, fake.NewClientset(), d).Groups()[0]
	if err := group.IncreaseSize(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if posts := d.Calls("POST"); len(posts) != 1 || posts[0].Path != "/hostgroup/a/nodes" {
		t.Errorf("posts %+v", posts)
	}
	if patches := d.Calls("PATCH"); len(patches) != 0 {
		t.Errorf("patches %+v", patches)
	}
}

func TestPartialFailureCountsNothing(t *testing.T) {
	d := slicertest.Start(t, "a")
	d.SetRoom(1)
	group := build(t, fake.NewClientset(), d).Groups()[0]
	if err := group.IncreaseSize(context.Background(), 2); err == nil || group.TargetSize() != 0 || len(d.VMs()) != 1 {
		t.Errorf("error %v, target %d, VMs %v", err, group.TargetSize(), d.VMs())
	}
}

func TestDeleteDependsOnThePermissionForNodes(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		d := slicertest.Start(t, "a")
		d.AddVM("a-1")
		node := worker("a", "a-1")
		client := fake.NewClientset(node)
		if !allowed {
			client.PrependReactor("delete", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("forbidden")
			})
		}
		group := build(t, client, d).Groups()[0]
		err := group.DeleteNodes(context.Background(), []*corev1.Node{node})
		wanted := 0
		if !allowed {
			wanted = 1
		}
		if (err == nil) != allowed || group.TargetSize() != wanted || len(d.VMs()) != 0 {
			t.Errorf("allowed %v: error %v, target %d, VMs %v", allowed, err, group.TargetSize(), d.VMs())
		}
	}
}

func TestAbsenceNeedsProof(t *testing.T) {
	d := slicertest.Start(t, "a")
	d.AddVM("a-1")
	p := build(t, fake.NewClientset(), d)
	has := func(node *corev1.Node) bool { return p.HasInstance(context.Background(), node) }
	if !has(worker("a", "a-1")) || has(worker("a", "a-2")) || has(&corev1.Node{}) {
		t.Error("wrong answer while the daemon answers")
	}
	d.SetDown(true)
	if !has(worker("a", "a-2")) {
		t.Error("a daemon that is down made a node absent")
	}
}
