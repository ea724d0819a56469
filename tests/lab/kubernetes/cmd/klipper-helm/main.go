// Command klipper-helm is the entry of the image in which k3s's Helm controller runs its jobs. It needs no shell: it
// turns the job's arguments and variables into calls of helm.
package main

import (
	"fmt"
	"os"

	"slicer-k3s.lab/kubernetes/internal/klipper"
)

func main() {
	job := klipper.FromEnvironment(os.Args[1:], os.Getenv)
	if err := job.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "klipper-helm:", err)
		os.Exit(1)
	}
}
