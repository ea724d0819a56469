package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// checkConfig looks at what this machine offers, one line a fact; the exit code counts what is missing.
func checkConfig([]string) int {
	missing := 0
	report := func(name string, ok bool, hint string) {
		if ok {
			fmt.Printf("- %s: good\n", name)
			return
		}
		missing++
		fmt.Printf("- %s: missing (%s)\n", name, hint)
	}
	fmt.Println("System:")
	for _, tool := range []string{"/usr/bin/containerd", "/usr/sbin/runc", "/usr/lib/cni/bridge", "/usr/lib/cni/host-local", "/usr/lib/cni/portmap"} {
		_, err := os.Stat(tool)
		report(tool, err == nil, "install the package that holds it")
	}
	for _, tool := range []string{"iptables", "ip", "conntrack"} {
		_, err := exec.LookPath(tool)
		report(tool, err == nil, "not in PATH")
	}
	filesystems, _ := os.ReadFile("/proc/filesystems")
	report("overlay file system", strings.Contains(string(filesystems), "overlay"), "load the module overlay")
	routes, _ := os.ReadFile("/proc/net/route")
	report("default route", strings.Contains(string(routes), "\t00000000\t"), "no default routes found")
	for _, controller := range []string{"memory", "cpu", "pids"} {
		groups, _ := os.ReadFile("/proc/cgroups")
		unified, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		report("cgroup "+controller, strings.Contains(string(groups), controller+"\t") || strings.Contains(string(unified), controller), "not enabled in the kernel")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:6444")
	if err == nil {
		_ = listener.Close()
	}
	report("loopback", err == nil || strings.Contains(err.Error(), "in use"), "127.0.0.1 cannot be listened on")
	fmt.Println()
	if missing > 0 {
		fmt.Printf("STATUS: %d (fail)\n", missing)
		return 1
	}
	fmt.Println("STATUS: pass")
	return 0
}
