package klipper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const helmPath = "/usr/bin/helm"

// call is one run of helm. Where the output is not captured it goes to the job's log.
type call struct {
	stdin   string
	capture bool
	args    []string
}

// runHelm returns what was captured and the exit status; helm that cannot be run at all counts as bash's 127.
func (j *Job) runHelm(c call) ([]byte, int) {
	var captured bytes.Buffer
	command := exec.Command(helmPath, c.args...)
	command.Env = append(os.Environ(),
		"SSL_CERT_FILE="+j.ServiceAccountCA, "SSL_CERT_DIR=/etc/ssl/certs", "HELM_TLS_CA_CERT="+j.ServiceAccountCA)
	command.Stdin = strings.NewReader(c.stdin)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if c.capture {
		command.Stdout = &captured
	}
	err := command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return captured.Bytes(), max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		return nil, 127
	}
	return captured.Bytes(), 0
}
