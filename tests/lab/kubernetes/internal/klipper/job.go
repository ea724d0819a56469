// Package klipper does what a job of k3s's Helm controller asks for, with the real helm.
package klipper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const configHashLabel = "helmcharts.helm.cattle.io/configHash"

// Job is one run: its arguments, variables and the places where the controller puts files.
type Job struct {
	Args                                      []string
	Name, Chart, Repo, Namespace              string
	Driver, FailurePolicy, Timeout            string
	ConfigHash, ExpectedRevision              string
	APIServer                                 string
	PassCredentials, InsecureTLS, PlainHTTP   bool
	ConfigDir, ChartDir, AuthDir, CAFilesDir  string
	TempDir, ServiceAccountCA, TerminationLog string

	helm     func(stdin string, args ...string) error
	releases releases
}

// FromEnvironment reads the contract's variables; places are those of the pod.
func FromEnvironment(args []string, get func(string) string) *Job {
	return &Job{
		Args:             args,
		Name:             get("NAME"),
		Chart:            get("CHART"),
		Repo:             get("REPO"),
		Namespace:        get("TARGET_NAMESPACE"),
		Driver:           get("HELM_DRIVER"),
		FailurePolicy:    get("FAILURE_POLICY"),
		Timeout:          get("TIMEOUT"),
		ConfigHash:       get("CONFIG_HASH"),
		ExpectedRevision: get("EXPECTED_RELEASE_REVISION"),
		APIServer:        get("KUBERNETES_SERVICE_HOST") + ":" + get("KUBERNETES_SERVICE_PORT"),
		PassCredentials:  get("AUTH_PASS_CREDENTIALS") == "true",
		InsecureTLS:      get("INSECURE_SKIP_TLS_VERIFY") == "true",
		PlainHTTP:        get("PLAIN_HTTP") == "true",
		ConfigDir:        "/config",
		ChartDir:         "/chart",
		AuthDir:          "/auth",
		CAFilesDir:       "/ca-files",
		TempDir:          "/tmp",
		ServiceAccountCA: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
		TerminationLog:   "/dev/termination-log",
	}
}

// Run does the job against the cluster that the pod is in.
func (j *Job) Run() error {
	found, err := inCluster(j.Driver, j.Namespace)
	if err != nil {
		return err
	}
	j.releases, j.helm = found, runHelm
	err = j.run()
	if err != nil {
		// What kubectl describe shows of the pod; without it the cause is only in the log.
		_ = os.WriteFile(j.TerminationLog, []byte(err.Error()+"\n"), 0o644)
	}
	return err
}

func (j *Job) run() error {
	if j.Name == "" || j.Namespace == "" || len(j.Args) == 0 {
		return errors.New("NAME, TARGET_NAMESPACE and a command are required")
	}
	switch j.Args[0] {
	case "delete":
		return j.uninstall()
	case "install":
		return j.apply(j.Args[1:])
	}
	return fmt.Errorf("unknown command %q", j.Args[0])
}

func (j *Job) uninstall() error {
	current, err := j.releases.latest(j.Name)
	if err != nil {
		return err
	}
	if current.revision == 0 {
		fmt.Println("No release of", j.Name, "to delete")
		return nil
	}
	args := append([]string{"uninstall", j.Name, "--namespace", j.Namespace, "--wait"}, j.timeout()...)
	return j.helm("", args...)
}

// apply brings the release to what the arguments say, whatever state an earlier job or person left it in.
func (j *Job) apply(given []string) error {
	current, err := j.releases.latest(j.Name)
	if err != nil {
		return err
	}
	if done, err := j.overtaken(current); done || err != nil {
		return err
	}
	chart, args, err := j.prepare(given)
	if err != nil {
		return err
	}
	if strings.HasPrefix(current.status, "pending-") {
		fmt.Printf("Previous job of %s was interrupted: its status %s becomes failed\n", j.Name, current.status)
		if err := j.releases.markFailed(current); err != nil {
			return err
		}
		current.status = "failed"
	}
	switch current.status {
	case "":
		return j.helm("", append([]string{"install", j.Name, chart}, args...)...)
	case "deployed", "superseded":
		return j.helm("", append([]string{"upgrade", j.Name, chart}, args...)...)
	}
	switch j.FailurePolicy {
	case "abort":
		return fmt.Errorf("release status is '%s' and failure policy is 'abort', not 'reinstall'; waiting for operator intervention", current.status)
	case "retry":
		fmt.Println("Retrying", j.Name)
		return j.helm("", append([]string{"upgrade", j.Name, chart, "--install"}, args...)...)
	}
	fmt.Println("Uninstalling", j.Name, "to install it from anew")
	if err := j.uninstall(); err != nil {
		return err
	}
	return j.helm("", append([]string{"install", j.Name, chart}, args...)...)
}

// overtaken tells whether another hand has moved the release since the controller made this job.
func (j *Job) overtaken(current release) (bool, error) {
	if j.ExpectedRevision == "" || j.ExpectedRevision == fmt.Sprint(current.revision) {
		return false, nil
	}
	if current.hash != j.ConfigHash {
		fmt.Printf("Release %s is at revision %d, not %s: left to the next job\n", j.Name, current.revision, j.ExpectedRevision)
		return true, nil
	}
	return current.status == "deployed", nil
}

// prepare fetches what the chart needs and completes the arguments of install and upgrade.
func (j *Job) prepare(given []string) (string, []string, error) {
	chart := j.Chart
	args := slices.Clone(given)
	if !slices.Contains(args, "--namespace") {
		args = append(args, "--namespace", j.Namespace)
	}
	fromAPIServer := strings.Contains(chart, apiServerMark)
	chart = strings.ReplaceAll(chart, apiServerMark, j.APIServer)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], apiServerMark, j.APIServer)
	}
	transport, err := j.transport()
	if err != nil {
		return "", nil, err
	}
	if fromAPIServer && !slices.Contains(transport, "--ca-file") {
		transport = append(transport, "--ca-file", j.ServiceAccountCA)
	}
	content, err := j.chartContent()
	if err != nil {
		return "", nil, err
	}
	switch {
	case content != "":
		chart, transport = content, nil
	case j.Repo != "":
		if err := j.addRepo(transport); err != nil {
			return "", nil, err
		}
		transport = nil
	case strings.HasPrefix(chart, "oci://"):
		if err := j.login(chart); err != nil {
			return "", nil, err
		}
		if j.PlainHTTP {
			transport = append(transport, "--plain-http")
		}
	}
	values, err := filepath.Glob(filepath.Join(j.ConfigDir, "values-*.yaml"))
	if err != nil {
		return "", nil, err
	}
	slices.Sort(values)
	for _, file := range values {
		args = append(args, "--values", file)
	}
	args = append(args, transport...)
	args = append(args, j.timeout()...)
	if j.ConfigHash != "" {
		args = append(args, "--labels", configHashLabel+"="+j.ConfigHash)
	}
	return chart, args, nil
}

func (j *Job) timeout() []string {
	if j.Timeout == "" {
		return nil
	}
	return []string{"--timeout", j.Timeout}
}
