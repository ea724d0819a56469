package klipper

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func record(t *testing.T, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

// bench is a job in a cluster whose release has a status (empty for none), and the helm calls it makes.
func bench(t *testing.T, status, policy string) (*Job, *fake.Clientset, *[]string) {
	t.Helper()
	client := fake.NewClientset()
	if status != "" {
		if err := client.Tracker().Add(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: "sh.helm.release.v1.scaler.v3", Namespace: "kube-system",
				Labels: map[string]string{"owner": "helm", "name": "scaler", "version": "3", "status": status, configHashLabel: "OLD"},
			},
			Data: map[string][]byte{"release": record(t, `{"version":3,"info":{"status":"`+status+`"}}`)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	variables := map[string]string{
		"NAME": "scaler", "CHART": "scaler/cluster-autoscaler", "REPO": "https://charts", "TARGET_NAMESPACE": "kube-system",
		"FAILURE_POLICY": policy, "TIMEOUT": "5m0s", "CONFIG_HASH": "NEW",
		"KUBERNETES_SERVICE_HOST": "10.43.0.1", "KUBERNETES_SERVICE_PORT": "443",
	}
	job := FromEnvironment([]string{"install", "--version", "9.52.1", "--set", "replicaCount=1"}, func(name string) string { return variables[name] })
	job.ConfigDir, job.ChartDir, job.AuthDir, job.CAFilesDir, job.TempDir = t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	var calls []string
	job.helm = func(stdin string, args ...string) error {
		calls = append(calls, strings.Join(args, " ")+"|"+stdin)
		return nil
	}
	job.releases = releases{client: client, namespace: "kube-system"}
	return job, client, &calls
}

func verbs(calls []string) string {
	var found []string
	for _, call := range calls {
		found = append(found, strings.Fields(call)[0])
	}
	return strings.Join(found, " ")
}

func TestEveryStateOfARelease(t *testing.T) {
	cases := []struct{ status, policy, verbs, wrong string }{
		{"", "reinstall", "repo repo install", ""},
		{"deployed", "abort", "repo repo upgrade", ""}, // adoption of what a person installed
		{"failed", "reinstall", "repo repo uninstall install", ""},
		{"failed", "retry", "repo repo upgrade", ""},
		{"failed", "abort", "repo repo", "waiting for operator intervention"},
		{"pending-upgrade", "retry", "repo repo upgrade", ""},
		{"pending-install", "reinstall", "repo repo uninstall install", ""},
	}
	for _, c := range cases {
		job, client, calls := bench(t, c.status, c.policy)
		err := job.run()
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s/%s: error %v", c.status, c.policy, err)
		}
		if verbs(*calls) != c.verbs {
			t.Errorf("%s/%s: calls %v", c.status, c.policy, *calls)
		}
		if strings.HasPrefix(c.status, "pending-") {
			secret, err := client.CoreV1().Secrets("kube-system").Get(context.Background(), "sh.helm.release.v1.scaler.v3", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if secret.Labels["status"] != "failed" || !bytes.Equal(secret.Data["release"], record(t, `{"info":{"status":"failed"},"version":3}`)) {
				t.Errorf("%s was not reset", c.status)
			}
		}
	}
}

// The label is what stops the controller from making the same job again and again.
func TestArgumentsOfAnInstall(t *testing.T) {
	job, _, calls := bench(t, "", "abort")
	for _, name := range []string{"values-1-000-HelmChartConfig-ValuesContent.yaml", "values-0-000-HelmChart-ValuesContent.yaml"} {
		if err := os.WriteFile(filepath.Join(job.ConfigDir, name), []byte("a: b\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"username": "me", "password": "secret"} {
		if err := os.WriteFile(filepath.Join(job.AuthDir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := job.run(); err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(job.ConfigDir, "values-0-000-HelmChart-ValuesContent.yaml")
	second := filepath.Join(job.ConfigDir, "values-1-000-HelmChartConfig-ValuesContent.yaml")
	wanted := []string{
		"repo add scaler https://charts --force-update --username me --password-stdin|secret",
		"repo update scaler|",
		"install scaler scaler/cluster-autoscaler --version 9.52.1 --set replicaCount=1 --namespace kube-system --values " + first +
			" --values " + second + " --timeout 5m0s --labels " + configHashLabel + "=NEW|",
	}
	if !slices.Equal(*calls, wanted) {
		t.Errorf("calls %q", *calls)
	}
}

func TestChartThatCameAlong(t *testing.T) {
	job, _, calls := bench(t, "", "abort")
	content := base64.StdEncoding.EncodeToString([]byte("archive"))
	if err := os.WriteFile(filepath.Join(job.ChartDir, "scaler.tgz.base64"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := job.run(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(job.TempDir, "scaler.tgz")
	if written, err := os.ReadFile(file); err != nil || string(written) != "archive" {
		t.Errorf("chart %q, %v", written, err)
	}
	if len(*calls) != 1 || !strings.HasPrefix((*calls)[0], "install scaler "+file+" ") {
		t.Errorf("calls %v", *calls)
	}
}

func TestChartFromTheAPIServer(t *testing.T) {
	job, _, calls := bench(t, "", "abort")
	job.Repo, job.Chart = "", "https://%{KUBERNETES_API}%/static/charts/x.tgz"
	if err := job.run(); err != nil {
		t.Fatal(err)
	}
	if len(*calls) != 1 || !strings.HasPrefix((*calls)[0], "install scaler https://10.43.0.1:443/static/charts/x.tgz ") ||
		!strings.Contains((*calls)[0], "--ca-file "+job.ServiceAccountCA) {
		t.Errorf("calls %v", *calls)
	}
}

func TestJobThatWasOvertaken(t *testing.T) {
	job, _, calls := bench(t, "deployed", "abort")
	job.ExpectedRevision = "2"
	if err := job.run(); err != nil || len(*calls) != 0 {
		t.Errorf("error %v, calls %v", err, *calls)
	}
	// The same job again, after its pod died behind a finished upgrade or in the middle of one.
	job.ConfigHash = "OLD"
	if err := job.run(); err != nil || len(*calls) != 0 {
		t.Errorf("error %v, calls %v", err, *calls)
	}
	job, _, calls = bench(t, "failed", "retry")
	job.ExpectedRevision, job.ConfigHash = "2", "OLD"
	if err := job.run(); err != nil || verbs(*calls) != "repo repo upgrade" {
		t.Errorf("error %v, calls %v", err, *calls)
	}
}

func TestDelete(t *testing.T) {
	for status, wanted := range map[string]string{"deployed": "uninstall scaler --namespace kube-system --wait --timeout 5m0s|", "": ""} {
		job, _, calls := bench(t, status, "abort")
		job.Args = []string{"delete"}
		if err := job.run(); err != nil || strings.Join(*calls, "") != wanted {
			t.Errorf("error %v, calls %v", err, *calls)
		}
	}
}

func TestFailureOfHelmIsTheJobsFailure(t *testing.T) {
	job, _, _ := bench(t, "", "abort")
	job.helm = func(string, ...string) error { return errors.New("no route") }
	if err := job.run(); err == nil {
		t.Error("the failure was lost")
	}
}
