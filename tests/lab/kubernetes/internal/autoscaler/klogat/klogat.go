// Package klogat writes lines of klog whose position in the source is that of the original autoscaler: people and tools
// look for lines by it.
package klogat

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

var (
	mutex  sync.Mutex
	output io.Writer = os.Stderr
	exit             = os.Exit
)

// SetOutput redirects the lines until what it returns is called.
func SetOutput(to io.Writer) (restore func()) {
	mutex.Lock()
	defer mutex.Unlock()
	before := output
	output = to
	return func() {
		mutex.Lock()
		defer mutex.Unlock()
		output = before
	}
}

// Info writes at a verbosity. Position is `file.go:line` in the original.
func Info(level klog.Level, position, format string, args ...any) {
	if klog.V(level).Enabled() {
		write('I', position, format, args)
	}
}

// Warning writes at any verbosity.
func Warning(position, format string, args ...any) { write('W', position, format, args) }

// Error writes at any verbosity.
func Error(position, format string, args ...any) { write('E', position, format, args) }

// Fatal writes and ends the program with the status that klog ends with.
func Fatal(position, format string, args ...any) {
	write('F', position, format, args)
	exit(255)
}

// Print writes a line without a head, as the original does once a loop.
func Print(format string, args ...any) {
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Fprintf(output, format, args...)
}

func write(severity byte, position, format string, args []any) {
	text := strings.TrimSuffix(fmt.Sprintf(format, args...), "\n")
	now := time.Now()
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Fprintf(output, "%c%02d%02d %s %7d %s] %s\n",
		severity, now.Month(), now.Day(), now.Format("15:04:05.000000"), os.Getpid(), path.Base(position), text)
}

// Quota bounds how many lines of a kind are written in a loop.
type Quota struct{ left int }

// NewQuota returns the quota for pods and nodes at the current verbosity.
func NewQuota() *Quota {
	if klog.V(5).Enabled() {
		return &Quota{left: 1000}
	}
	return &Quota{left: 20}
}

const quotaPosition = "klogx.go:87"

// Info writes as long as the quota lasts.
func (q *Quota) Info(level klog.Level, format string, args ...any) {
	if !klog.V(level).Enabled() {
		return
	}
	q.left--
	if q.left >= 0 {
		write('I', quotaPosition, format, args)
	}
}

// Rest writes how many lines were left out, if any were.
func (q *Quota) Rest(level klog.Level, format string) {
	if q.left < 0 {
		Info(level, quotaPosition, format, -q.left)
	}
}
