package klipper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const helmPath = "/usr/bin/helm"

// tail keeps the end of what is written: the cause of a failure stands there.
type tail struct{ kept []byte }

func (t *tail) Write(written []byte) (int, error) {
	const limit = 2000
	t.kept = append(t.kept, written...)
	if len(t.kept) > limit {
		t.kept = bytes.Clone(t.kept[len(t.kept)-limit:])
	}
	return len(written), nil
}

func runHelm(stdin string, args ...string) error {
	// Values given by --set may be secret, so only what is done is shown.
	fmt.Println("+ helm", strings.Join(args[:min(len(args), 3)], " "))
	var last tail
	command := exec.Command(helmPath, args...)
	command.Stdin = strings.NewReader(stdin)
	command.Stdout = os.Stdout
	command.Stderr = io.MultiWriter(os.Stderr, &last)
	err := command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("helm %s: %w: %s", args[0], err, strings.TrimSpace(string(last.kept)))
	}
	return err
}
