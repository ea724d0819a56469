// Package process runs this node's components as child processes that live and die with it.
package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// grace is how long components get to say goodbye before they are killed.
const grace = 5 * time.Second

// Group is a set of children; when one ends by itself, so does the whole node, as in k3s, where they are one process.
type Group struct {
	Failed chan error

	mutex    sync.Mutex
	children []*exec.Cmd
	stopping bool
	running  sync.WaitGroup
}

// NewGroup makes an empty group.
func NewGroup() *Group { return &Group{Failed: make(chan error, 16)} }

// Component starts one of the components compiled into this binary.
func (g *Group) Component(name string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return g.Start(self, append([]string{name}, args...)...)
}

// Start starts a child whose output goes where ours goes.
func (g *Group) Start(path string, args ...string) error { return g.start(os.Stderr, path, args...) }

// Logged starts a child with a log of its own.
func (g *Group) Logged(log, path string, args ...string) error {
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close() // the child has its own
	logrus.Infof("Logging %s to %s", filepath.Base(path), log)
	return g.start(file, path, args...)
}

func (g *Group) start(output *os.File, path string, args ...string) error {
	name := filepath.Base(path)
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name = args[0]
	}
	logrus.Infof("Running %s %s", filepath.Base(path), strings.Join(args, " "))
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = output, output
	for _, entry := range os.Environ() {
		// A child must neither report readiness in our name nor carry the join token.
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") && !strings.HasPrefix(entry, "K3S_") {
			command.Env = append(command.Env, entry)
		}
	}
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		// The kernel sends the death signal when the *thread* that forked ends: keep it.
		runtime.LockOSThread()
		g.mutex.Lock()
		if g.stopping {
			g.mutex.Unlock()
			started <- context.Canceled
			return
		}
		err := command.Start()
		if err == nil {
			g.children = append(g.children, command)
		}
		g.mutex.Unlock()
		started <- err
		if err != nil {
			return
		}
		err = command.Wait()
		g.mutex.Lock()
		defer g.mutex.Unlock()
		if !g.stopping {
			g.Failed <- &Shutdown{Cause: fmt.Errorf("%s exited: %v", name, err)}
		}
	}()
	return <-started
}

// Stop ends every child: politely, then not.
func (g *Group) Stop() {
	g.signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		g.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
		g.signal(syscall.SIGKILL)
		// What they listened on is to be free for the next start.
		select {
		case <-done:
		case <-time.After(grace):
		}
	}
}

func (g *Group) signal(signal syscall.Signal) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.stopping = true
	for _, child := range g.children {
		if child.ProcessState == nil {
			_ = child.Process.Signal(signal)
		}
	}
}
