package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

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
		if err := server.Reset(context.Background(), settings); err != nil {
			return fatal(err)
		}
		return 0
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

// supervise runs a node until it is told to end or a part of it fails; systemd then starts all of it again.
func supervise(start func(context.Context, *process.Group) (cleanup func(), err error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := writableCgroups(); err != nil {
		logrus.Warnf("cgroups stay read-only: %v", err)
	}
	children := process.NewGroup()
	cleanup, err := start(ctx, children)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-children.Failed:
		}
	}
	interrupted := ctx.Err() != nil
	stop()
	children.Stop()
	cleanup()
	if err != nil && !interrupted {
		return fatal(err)
	}
	return 0
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

func fatal(err error) int {
	logger := logrus.StandardLogger()
	logger.ExitFunc = func(int) {} // the children are ended by us, in order
	logger.Fatal(err)
	return 1
}
