package klipper

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// record is a release as helm stores it.
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

// bench is a job beside a release with a status (empty for none), and what it does.
type bench struct {
	*Job
	t       *testing.T
	cluster *fake.Clientset
	log     bytes.Buffer
	// calls are helm's arguments and stdin, without `status`.
	calls []string
	// fails are the verbs that end with 1.
	fails []string
}

func newBench(t *testing.T, status, policy string) *bench {
	t.Helper()
	b := &bench{t: t, cluster: fake.NewClientset()}
	if status != "" {
		if err := b.cluster.Tracker().Add(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: "sh.helm.release.v1.scaler.v3", Namespace: "kube-system",
				Labels: map[string]string{"owner": "helm", "name": "scaler", "version": "3", "status": status},
			},
			Data: map[string][]byte{"release": record(t, `{"version":3,"info":{"status":"`+status+`"}}`)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	variables := map[string]string{
		"NAME": "scaler", "CHART": "scaler/cluster-autoscaler", "REPO": "https://charts", "TARGET_NAMESPACE": "kube-system",
		"FAILURE_POLICY": policy, "TIMEOUT": "5m0s", "CONFIG_HASH": "NEW", "SERVER_SIDE": "auto", "FORCE_CONFLICTS": "false",
		"AUTH_PASS_CREDENTIALS": "false", "INSECURE_SKIP_TLS_VERIFY": "false", "PLAIN_HTTP": "false",
		"KUBERNETES_SERVICE_HOST": "10.43.0.1", "KUBERNETES_SERVICE_PORT": "443",
	}
	args := []string{"install", "--namespace", "kube-system", "--version", "9.52.1", "--set", "replicaCount=1"}
	b.Job = FromEnvironment(args, func(name string) string { return variables[name] })
	b.ConfigDir, b.ChartDir, b.AuthDir, b.CADir, b.TempDir = t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	b.TermLog = filepath.Join(t.TempDir(), "termination-log")
	b.trace, b.out = tracer{out: &b.log}, &b.log
	b.helm = func(c call) ([]byte, int) {
		if c.args[0] == "status" {
			if status == "" {
				return nil, 1
			}
			return fmt.Appendf(nil, `{"info":{"status":%q},"version":3,"apply_method":"ssa"}`, status), 0
		}
		b.calls = append(b.calls, strings.Join(c.args, " ")+"|"+c.stdin)
		if slices.Contains(b.fails, c.args[0]) {
			return nil, 1
		}
		return nil, 0
	}
	b.releases = func() (releases, error) { return releases{client: b.cluster, namespace: "kube-system"}, nil }
	return b
}

func (b *bench) verbs() string {
	var found []string
	for _, call := range b.calls {
		found = append(found, strings.Fields(call)[0])
	}
	return strings.Join(found, " ")
}

func (b *bench) message() string {
	b.t.Helper()
	text, err := os.ReadFile(b.TermLog)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bench) lastLine() string {
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	return lines[len(lines)-1]
}

func write(t *testing.T, directory, name, content string) string {
	t.Helper()
	file := filepath.Join(directory, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryStateOfARelease(t *testing.T) {
	const intervention = "Release status is 'failed' and failure policy is 'abort'; waiting for operator intervention\n"
	cases := []struct {
		status, policy, verbs, message string
		exit                           int
	}{
		{"", "reinstall", "repo repo install", "Installing helm chart\n", 0},
		{"deployed", "abort", "repo repo upgrade", "Upgrading helm chart\n", 0}, // adoption of what a person installed
		{"failed", "reinstall", "repo repo uninstall install", "Uninstalling failed helm chart\nInstalling helm chart\n", 0},
		{"failed", "", "repo repo uninstall install", "Uninstalling failed helm chart\nInstalling helm chart\n", 0},
		{"failed", "retry", "repo repo upgrade", "Upgrading scaler from failed state\n", 0},
		{"failed", "abort", "repo repo", intervention, 1},
		{"unknown", "abort", "repo repo", strings.Replace(intervention, "failed", "unknown", 1), 1},
		{"failed", "other", "repo repo", "Unknown failure policy 'other'\n", 1},
		{"pending-upgrade", "abort", "repo repo upgrade", "Resetting helm release status from 'pending-upgrade' to 'failed'\nRetrying upgrade of helm chart\n", 0},
		{"superseded", "abort", "repo repo upgrade", "Resetting helm release status from 'superseded' to 'failed'\nRetrying upgrade of helm chart\n", 0},
		{"pending-install", "abort", "repo repo", "Resetting helm release status from 'pending-install' to 'failed'\n" + intervention, 1},
		{"pending-install", "reinstall", "repo repo uninstall install", "Resetting helm release status from 'pending-install' to 'failed'\nUninstalling failed helm chart\nInstalling helm chart\n", 0},
		{"pending-rollback", "retry", "repo repo upgrade", "Resetting helm release status from 'pending-rollback' to 'failed'\nUpgrading scaler from failed state\n", 0},
		{"uninstalling", "reinstall", "repo repo uninstall install", "Resetting helm release status from 'uninstalling' to 'failed'\nUninstalling failed helm chart\nInstalling helm chart\n", 0},
		{"uninstalled", "abort", "repo repo install", "Installing helm chart\n", 0},
	}
	for _, c := range cases {
		b := newBench(t, c.status, c.policy)
		if exit := b.Run(); exit != c.exit || b.verbs() != c.verbs || b.message() != c.message {
			t.Errorf("%s/%s: exit %d, calls %v, message %q", c.status, c.policy, exit, b.calls, b.message())
		}
		if strings.HasPrefix(c.status, "pending-") {
			secret, err := b.cluster.CoreV1().Secrets("kube-system").Get(context.Background(), "sh.helm.release.v1.scaler.v3", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if secret.Labels["status"] != "failed" || !bytes.Equal(secret.Data["release"], record(t, `{"info":{"status":"failed"},"version":3}`)) {
				t.Errorf("%s was not reset", c.status)
			}
		}
	}
}

// Without the label the controller makes the same job again and again; server-side apply is `auto` for upgrades only.
func TestArgumentsOfInstallAndUpgrade(t *testing.T) {
	for _, c := range []struct{ status, verb, serverSide string }{{"", "install", "true"}, {"deployed", "upgrade", "auto"}} {
		b := newBench(t, c.status, "abort")
		second := write(t, b.ConfigDir, "values-1-000-HelmChartConfig-ValuesContent.yaml", "a: b\n")
		first := write(t, b.ConfigDir, "values-0-000-HelmChart-ValuesContent.yaml", "a: b\n")
		write(t, b.AuthDir, "username", "me\n")
		write(t, b.AuthDir, "password", "secret\n")
		if exit := b.Run(); exit != 0 {
			t.Fatal(exit)
		}
		wanted := []string{
			"repo add --username me --password-stdin scaler https://charts|secret\n",
			"repo update|",
			c.verb + " --namespace kube-system --version 9.52.1 --set replicaCount=1 scaler scaler/cluster-autoscaler --timeout 5m0s --labels " +
				configHashLabel + "=NEW --server-side=" + c.serverSide + " --force-conflicts=false --values " + first + " --values " + second + "|",
		}
		if !slices.Equal(b.calls, wanted) {
			t.Errorf("calls %q", b.calls)
		}
	}
}

// Conflicts can be forced only where helm applies on the server's side.
func TestConflictsAreForcedOnlyWithServerSideApply(t *testing.T) {
	b := newBench(t, "deployed", "abort")
	b.ForceConflicts = "true"
	for method, wanted := range map[string]string{"ssa": "true", "csa": "false", "": "false"} {
		if args := b.ssaArgs("3", method); !slices.Equal(args, []string{"--server-side=auto", "--force-conflicts=" + wanted}) {
			t.Errorf("%s: %v", method, args)
		}
	}
}

// What reads the job's log must get past these lines, as it must with the original's.
func TestLogIsThatOfAShellUnderTrace(t *testing.T) {
	b := newBench(t, "", "reinstall")
	b.fails = []string{"install"}
	if exit := b.Run(); exit != 1 {
		t.Errorf("exit %d", exit)
	}
	log := b.log.String()
	if !strings.HasPrefix(log, "if [[ ${KUBERNETES_SERVICE_HOST} =~ .*:.* ]]; then\n") {
		t.Errorf("log begins with %q", log[:80])
	}
	for _, line := range []string{
		"set +v -x",
		"+ shopt -s nullglob",
		`+ [[ false == \t\r\u\e ]]`,
		"+ LABELS_ARG='--labels " + configHashLabel + "=NEW'",
		"+ [[ scaler/cluster-autoscaler == stable/* ]]",
		"+ helm repo add scaler https://charts",
		"+ helm repo update",
		"+ read -r STATUS REVISION APPLY_METHOD _",
		"++ helm status --namespace kube-system scaler --output json",
		"++ get_ssa_args '' '' auto false",
		"+ SSA_ARGS='--server-side=true --force-conflicts=false '",
		"+ echo 'Installing helm chart'",
		"+ helm install --namespace kube-system --version 9.52.1 --set replicaCount=1 scaler scaler/cluster-autoscaler --timeout 5m0s --labels " +
			configHashLabel + "=NEW --server-side=true --force-conflicts=false",
	} {
		if !strings.Contains(log, line+"\n") {
			t.Errorf("no line %q in\n%s", line, log)
		}
	}
	if b.message() != "Installing helm chart\n" {
		t.Errorf("message %q", b.message())
	}
	for _, c := range []struct {
		status, policy, last string
		exit                 int
	}{{"failed", "abort", "+ exit 1", 1}, {"deployed", "abort", "+ exit", 1}, {"failed", "retry", "+ exit 0", 0}} {
		b := newBench(t, c.status, c.policy)
		b.fails = []string{"upgrade"}
		if exit := b.Run(); exit != c.exit || b.lastLine() != c.last {
			t.Errorf("%s: exit %d, last line %q", c.status, exit, b.lastLine())
		}
	}
}

func TestRepositoryThatDoesNotAnswerEndsTheJob(t *testing.T) {
	b := newBench(t, "", "reinstall")
	b.fails = []string{"repo"}
	if exit := b.Run(); exit != 1 || len(b.calls) != 1 {
		t.Errorf("exit %d, calls %v", exit, b.calls)
	}
}

func TestChartThatCameAlong(t *testing.T) {
	b := newBench(t, "", "abort")
	b.Repo = ""
	write(t, b.ChartDir, "scaler.tgz.base64", base64.StdEncoding.EncodeToString([]byte("archive"))+"\n")
	if exit := b.Run(); exit != 0 {
		t.Fatal(exit)
	}
	file := filepath.Join(b.TempDir, "scaler.tgz")
	if written, err := os.ReadFile(file); err != nil || string(written) != "archive" {
		t.Errorf("chart %q, %v", written, err)
	}
	if len(b.calls) != 1 || !strings.Contains(b.calls[0], " scaler "+file+" ") {
		t.Errorf("calls %v", b.calls)
	}
}

func TestChartFromTheAPIServer(t *testing.T) {
	b := newBench(t, "", "abort")
	b.Chart = "https://%{KUBERNETES_API}%/static/charts/x.tgz"
	write(t, b.CADir, "ca.crt", "certificate\n")
	if exit := b.Run(); exit != 0 {
		t.Fatal(exit)
	}
	bundle := filepath.Join(b.TempDir, "ca-file.pem")
	if b.verbs() != "repo install" || !strings.Contains(b.calls[1], " scaler https://10.43.0.1:443/static/charts/x.tgz --ca-file "+bundle+" ") {
		t.Errorf("calls %v", b.calls)
	}
	if written, err := os.ReadFile(bundle); err != nil || string(written) != "\ncertificate\n" {
		t.Errorf("bundle %q, %v", written, err)
	}
}

func TestJobThatWasOvertaken(t *testing.T) {
	for _, args := range [][]string{{"install"}, {"delete"}} {
		b := newBench(t, "deployed", "abort")
		b.Args, b.ExpectedRevision = args, "2"
		if exit := b.Run(); exit != 0 || strings.Contains(b.verbs(), "upgrade") || strings.Contains(b.verbs(), "uninstall") {
			t.Errorf("%v: exit %d, calls %v", args, exit, b.calls)
		}
		if b.message() != "Current release revision 3 does not match expected revision 2\n" {
			t.Errorf("message %q", b.message())
		}
	}
}

func TestDelete(t *testing.T) {
	for status, wanted := range map[string]string{"deployed": "uninstall scaler --namespace kube-system --wait|", "": ""} {
		b := newBench(t, status, "abort")
		b.Args, b.fails = []string{"delete"}, []string{"uninstall"}
		// A failed deletion ends with 0, too.
		if exit := b.Run(); exit != 0 || strings.Join(b.calls, "") != wanted {
			t.Errorf("exit %d, calls %v", exit, b.calls)
		}
	}
}
