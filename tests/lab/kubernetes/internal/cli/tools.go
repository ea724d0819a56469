package cli

import (
	"fmt"
	"os"
	"syscall"

	"slicer-k3s.lab/kubernetes/internal/agent"
	"slicer-k3s.lab/kubernetes/internal/multicall"
	"slicer-k3s.lab/kubernetes/internal/server"
)

// kubectl uses the administrators' kubeconfig unless told otherwise.
func kubectl(args []string) int {
	if os.Getenv("KUBECONFIG") == "" {
		if file, err := os.Open(server.AdminKubeconfig); err == nil {
			_ = file.Close()
			_ = os.Setenv("KUBECONFIG", server.AdminKubeconfig)
		} else if os.IsPermission(err) {
			fmt.Fprintf(os.Stderr, "Unable to read %s, please start server with --write-kubeconfig-mode or --write-kubeconfig-group to modify kube config permissions\n", server.AdminKubeconfig)
		}
	}
	return multicall.Kubectl(args)
}

// ctr is containerd's own, pointed at this node's containerd.
func ctr(args []string) int {
	environment := append(os.Environ(), "CONTAINERD_ADDRESS="+agent.Socket, "CONTAINERD_NAMESPACE=k8s.io")
	err := syscall.Exec("/usr/bin/ctr", append([]string{"ctr"}, args...), environment)
	return fail(fmt.Errorf("/usr/bin/ctr: %w", err))
}
