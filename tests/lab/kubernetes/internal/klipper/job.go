// Package klipper does what a job of k3s's Helm controller asks for, with the real helm: the same commands in the same
// order, the same trace in the log and the same termination message as the original's shell script.
//
// Source: k3s-io/klipper-helm@09c5242 (v0.13.3) entry.
package klipper

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const configHashLabel = "helmcharts.helm.cattle.io/configHash"

// Job is one run: its arguments, variables and the places where the controller puts files.
type Job struct {
	Args                                    []string
	Name, Chart, Repo, Namespace            string
	Driver, FailurePolicy, Timeout          string
	ConfigHash, ExpectedRevision            string
	ServerSide, ForceConflicts              string
	Host, Port                              string
	PassCredentials, InsecureTLS, PlainHTTP string
	ConfigDir, ChartDir, AuthDir, CADir     string
	TempDir, ServiceAccountCA, TermLog      string

	caArgs, insecureArgs, plainArgs   []string
	timeoutArgs, labelArgs, valueArgs []string

	trace    tracer
	out      io.Writer
	helm     func(call) ([]byte, int)
	releases func() (releases, error)
}

// FromEnvironment reads the contract's variables; places are those of the pod.
func FromEnvironment(args []string, get func(string) string) *Job {
	j := &Job{
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
		ServerSide:       get("SERVER_SIDE"),
		ForceConflicts:   get("FORCE_CONFLICTS"),
		Host:             get("KUBERNETES_SERVICE_HOST"),
		Port:             get("KUBERNETES_SERVICE_PORT"),
		PassCredentials:  get("AUTH_PASS_CREDENTIALS"),
		InsecureTLS:      get("INSECURE_SKIP_TLS_VERIFY"),
		PlainHTTP:        get("PLAIN_HTTP"),
		ConfigDir:        "/config",
		ChartDir:         "/chart",
		AuthDir:          "/auth",
		CADir:            "/ca-files",
		TempDir:          "/tmp",
		ServiceAccountCA: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
		TermLog:          "/dev/termination-log",
		trace:            tracer{out: os.Stderr},
		out:              os.Stdout,
	}
	j.helm = j.runHelm
	j.releases = func() (releases, error) { return inCluster(j.Driver, j.Namespace) }
	return j
}

// Run does the job and returns the exit status.
func (j *Job) Run() int {
	if j.Name == "" || j.Namespace == "" || len(j.Args) == 0 {
		fmt.Fprintln(j.trace.out, "NAME, TARGET_NAMESPACE and a command are required")
		return 2
	}
	j.address()
	j.arguments()
	if status := j.content(); status != 0 {
		return status
	}
	j.trace.test(j.Args[0], "!=", "delete")
	if j.Args[0] != "delete" {
		if status := j.repoInit(); status != 0 {
			return status
		}
	}
	j.trace.command(append([]string{"helm_update"}, j.Args...)...)
	return j.update()
}

// verbatim is what bash shows of the script under `set -v`, before the traces begin.
const verbatim = `if [[ ${KUBERNETES_SERVICE_HOST} =~ .*:.* ]]; then
	echo "KUBERNETES_SERVICE_HOST is using IPv6"
	CHART="${CHART//%\{KUBERNETES_API\}%/[${KUBERNETES_SERVICE_HOST}]:${KUBERNETES_SERVICE_PORT}}"
else
	CHART="${CHART//%\{KUBERNETES_API\}%/${KUBERNETES_SERVICE_HOST}:${KUBERNETES_SERVICE_PORT}}"
fi

set +v -x
`

// apiServerMark stands in a chart's address for the API server that the pod talks to.
const apiServerMark = "%{KUBERNETES_API}%"

func (j *Job) address() {
	fmt.Fprint(j.trace.out, verbatim)
	host := j.Host
	if strings.Contains(host, ":") {
		fmt.Fprintln(j.out, "KUBERNETES_SERVICE_HOST is using IPv6")
		host = "[" + host + "]"
	}
	j.Chart = strings.ReplaceAll(j.Chart, apiServerMark, host+":"+j.Port)
}

// arguments turns the variables and files that the controller gave into arguments of helm.
func (j *Job) arguments() {
	t := j.trace
	t.test("", "==", "v2")
	t.command("shopt", "-s", "nullglob")
	j.bundle()
	t.test(j.InsecureTLS, "==", "true")
	if j.InsecureTLS == "true" {
		j.insecureArgs = []string{"--insecure-skip-tls-verify"}
		t.assign("INSECURE_TLS_ARG", j.insecureArgs[0])
	}
	t.test(j.PlainHTTP, "==", "true")
	if j.PlainHTTP == "true" {
		j.plainArgs = []string{"--plain-http"}
		t.assign("PLAIN_HTTP_ARG", j.plainArgs[0])
	}
	t.testOne("-n", j.Timeout)
	if j.Timeout != "" {
		j.timeoutArgs = []string{"--timeout", j.Timeout}
		t.assign("TIMEOUT_ARG", strings.Join(j.timeoutArgs, " "))
	}
	t.testOne("-n", j.ConfigHash)
	if j.ConfigHash != "" {
		j.labelArgs = []string{"--labels", configHashLabel + "=" + j.ConfigHash}
		t.assign("LABELS_ARG", strings.Join(j.labelArgs, " "))
	}
}

// say writes a line to the termination message, which is all that Kubernetes keeps of a try once the next has begun.
// Helm's own error is never in it: that goes to the log alone.
func (j *Job) say(text string) {
	j.trace.command("echo", text)
	file, err := os.OpenFile(j.TermLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(j.trace.out, err)
		return
	}
	defer file.Close()
	fmt.Fprintln(file, text)
}

// echo writes a line to the log.
func (j *Job) echo(text string) {
	j.trace.command(append([]string{"echo"}, strings.Fields(text)...)...)
	fmt.Fprintln(j.out, text)
}

// echoQuoted writes a line that the script has in quotes.
func (j *Job) echoQuoted(text string) {
	j.trace.command("echo", text)
	fmt.Fprintln(j.out, text)
}

// run traces a helm command and runs it.
func (j *Job) run(stdin string, args ...string) int {
	j.trace.command(append([]string{"helm"}, args...)...)
	_, status := j.helm(call{stdin: stdin, args: args})
	return status
}

func (j *Job) values() []string {
	files, _ := filepath.Glob(filepath.Join(j.ConfigDir, "*.yaml")) // The pattern is well formed.
	var args []string
	j.trace.assign("VALUES", "")
	for _, file := range files {
		args = append(args, "--values", file)
		j.trace.line("for VALUES_FILE in /config/*.yaml")
		j.trace.assign("VALUES", " "+strings.Join(args, " "))
	}
	return args
}
