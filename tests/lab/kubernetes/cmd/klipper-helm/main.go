// Command klipper-helm is the entry of the image in which k3s's Helm controller runs its jobs. It needs no shell: it
// turns the job's arguments and variables into calls of helm.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"slicer-k3s.lab/kubernetes/internal/klipper"
)

func main() {
	// helm must not be interrupted: it would leave the release in a pending state.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	os.Exit(klipper.FromEnvironment(os.Args[1:], os.Getenv).Run())
}
