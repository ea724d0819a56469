package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"slicer-k3s.lab/kubernetes/internal/agent"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/process"
	"slicer-k3s.lab/kubernetes/internal/server"
	"slicer-k3s.lab/kubernetes/internal/version"
)

func serve(args []string) int {
	values, err := config.Parse("server", args, os.Getenv)
	if err != nil {
		return fatal(err)
	}
	settings, err := config.NewServer(values)
	if err != nil {
		return fatal(err)
	}
	logrus.Infof("Starting k3s %s (%s)", version.Version, version.Commit)
	if values.Bool("cluster-reset") {
		return supervise(func(ctx context.Context, _ *process.Group) (func(), error) {
			return server.Reset(ctx, settings)
		})
	}
	return supervise(func(ctx context.Context, children *process.Group) (func(), error) {
		return server.Run(ctx, settings, children)
	})
}

func runAgent(args []string) int {
	values, err := config.Parse("agent", args, os.Getenv)
	if err != nil {
		return fatal(err)
	}
	settings, err := config.NewNode(values)
	if err != nil {
		return fatal(err)
	}
	logrus.Infof("Starting k3s agent %s (%s)", version.Version, version.Commit)
	return supervise(func(ctx context.Context, children *process.Group) (func(), error) {
		return func() {}, agent.Agent(ctx, settings, children)
	})
}

// supervise runs a node until a signal ends it or a part of it fails; systemd then starts all of it again.
func supervise(start func(context.Context, *process.Group) (cleanup func(), err error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := writableCgroups(); err != nil {
		logrus.Warnf("cgroups stay read-only: %v", err)
	}
	children := process.NewGroup()
	type result struct {
		cleanup func()
		err     error
	}
	started := make(chan result, 1)
	go func() {
		cleanup, err := start(ctx, children)
		started <- result{cleanup, err}
	}()
	var err error
	begun := false
	cleanup := func() {}
	for waiting := true; waiting; {
		select {
		case now := <-started:
			cleanup, err, begun = now.cleanup, now.err, true
			waiting = err == nil
		case <-ctx.Done():
			waiting = false
		case err = <-children.Failed:
			waiting = false
		}
	}
	interrupted := ctx.Err() != nil
	code := ended(err, interrupted)
	stop()
	children.Stop()
	if !begun {
		select {
		case now := <-started:
			cleanup = now.cleanup
		case <-time.After(startGrace):
		}
	}
	cleanup()
	return code
}

// startGrace is how long a start that was broken off has to notice.
const startGrace = 5 * time.Second

// ended logs why a node ends, in the words that the original has for each kind of end, and returns the exit code.
func ended(err error, interrupted bool) int {
	var shutdown *process.Shutdown
	var fatality *process.Fatal
	switch {
	case err == nil || interrupted:
		return 0
	case errors.As(err, &fatality):
		return lastWord(fatality.Text)
	case errors.As(err, &shutdown):
		logrus.Errorf("Shutdown request received: %q", shutdown.Cause)
		return 0
	}
	return fatal(err)
}

// writableCgroups makes the controllers that a container manager mounted read-only writable again.
func writableCgroups() error {
	content, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(content), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[2], "cgroup") || !strings.HasPrefix(fields[1], "/sys/fs/cgroup") || !strings.HasPrefix(fields[3]+",", "ro,") {
			continue
		}
		if err := unix.Mount("", filepath.Clean(fields[1]), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("%s: %w", fields[1], err)
		}
	}
	return nil
}

// fatal is the end of a command, or of a node that did not come up.
func fatal(err error) int { return lastWord(fmt.Sprintf("Error: %v", err)) }

func lastWord(text string) int {
	logger := logrus.StandardLogger()
	logger.ExitFunc = func(int) {} // the children are ended by us, in order
	logger.Fatal(text)
	return 1
}
