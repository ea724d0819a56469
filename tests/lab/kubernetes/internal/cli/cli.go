// Package cli is the command line of `k3s`, by subcommand or by the name it is called under.
package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/multicall"
	"slicer-k3s.lab/kubernetes/internal/version"
)

const usage = `NAME:
   k3s - Kubernetes, but small and simple (a stand-in for a laboratory, not k3s itself)

USAGE:
   k3s command [command options]

COMMANDS:
   server           Run management server
   agent            Run node agent
   kubectl          Run kubectl
   crictl           Run crictl (a small part of it)
   ctr              Run ctr
   check-config     Run config check
   token            Manage tokens
   etcd-snapshot    Manage etcd snapshots
   certificate      Manage K3s certificates
`

// Run runs the command line and returns the exit code.
func Run(args []string) int {
	logrus.SetOutput(os.Stderr)
	logrus.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: true})
	name, rest := filepath.Base(args[0]), args[1:]
	if command, ok := commands[name]; ok && name != "server" && name != "agent" {
		return command(rest)
	}
	if len(rest) == 0 {
		fmt.Print(usage)
		return 0
	}
	if component, ok := multicall.Components[rest[0]]; ok {
		return component(rest[1:])
	}
	if command, ok := commands[rest[0]]; ok {
		return command(rest[1:])
	}
	fmt.Fprintf(os.Stderr, "No help topic for '%s'\n", rest[0])
	return 3
}

var commands map[string]func([]string) int

func init() {
	commands = map[string]func([]string) int{
		"server": serve, "agent": runAgent, "kubectl": kubectl, "crictl": crictl, "ctr": ctr, "token": tokens,
		"etcd-snapshot": snapshots, "certificate": certificates, "check-config": checkConfig,
		"--version": printVersion, "-v": printVersion, "version": printVersion,
		"--help": printUsage, "-h": printUsage, "help": printUsage,
	}
}

func printVersion([]string) int {
	fmt.Printf("k3s version %s (%s)\ngo version %s\n", version.Version, version.Commit, runtime.Version())
	return 0
}

func printUsage([]string) int {
	fmt.Print(usage)
	return 0
}

// fail prints an error as the original logs it and returns its exit code.
func fail(err error) int {
	logrus.Errorf("Error: %v", err)
	return 1
}
