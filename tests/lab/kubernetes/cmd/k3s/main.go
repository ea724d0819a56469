// Command k3s is the lab's stand-in for k3s: k3s's own contract around the real Kubernetes.
package main

import (
	"os"

	"slicer-k3s.lab/kubernetes/internal/multicall"
)

func main() {
	if len(os.Args) > 1 {
		if run, ok := multicall.Components[os.Args[1]]; ok {
			os.Exit(run(os.Args[2:]))
		}
	}
	os.Exit(multicall.Kubectl(os.Args[1:]))
}
