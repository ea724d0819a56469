// Command k3s is the lab's stand-in for k3s: k3s's own contract around the real Kubernetes.
package main

import (
	"os"

	"slicer-k3s.lab/kubernetes/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args)) }
