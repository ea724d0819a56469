package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/process"
)

const (
	// Socket is where the container runtime listens.
	Socket     = "/run/k3s/containerd/containerd.sock"
	stateDir   = "/run/k3s/containerd"
	containerd = "/usr/bin/containerd"
	cniBinDir  = "/usr/lib/cni"
	// PauseImage holds the namespaces of a pod.
	PauseImage     = "docker.io/rancher/mirrored-pause:3.6"
	runtimeLimit   = 2 * time.Minute
	containerdText = `version = 2
root = %q
state = %q

[grpc]
  address = %q

[plugins."io.containerd.internal.v1.opt"]
  path = %q

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  sandbox_image = %q
  # Without CAP_SYS_RESOURCE nobody may lower an OOM score.
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  disable_snapshot_annotations = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = %q

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = %q
`
)

// CNIDir is where the pod network's configuration lies.
func CNIDir(n *config.Node) string { return n.AgentDir("etc", "cni", "net.d") }

// StartRuntime runs containerd and returns once it answers and holds the images laid ready for it.
func StartRuntime(ctx context.Context, n *config.Node, children *process.Group) error {
	hosts := n.AgentDir("etc", "containerd", "certs.d")
	if err := writeRegistries(n.Text("private-registry", "/etc/rancher/k3s/registries.yaml"), hosts); err != nil {
		return err
	}
	root := n.AgentDir("containerd")
	content := fmt.Sprintf(containerdText, root, stateDir, Socket, root, n.Text("pause-image", PauseImage), cniBinDir, CNIDir(n), hosts)
	path := n.AgentDir("etc", "containerd", "config.toml")
	if err := files.Write(path, []byte(content), 0o600); err != nil {
		return err
	}
	for _, dir := range []string{root, stateDir, CNIDir(n)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := children.Logged(filepath.Join(root, "containerd.log"), containerd, "-c", path, "--log-level", "warn"); err != nil {
		return err
	}
	if err := waitRuntime(ctx); err != nil {
		return err
	}
	return importImages(ctx, n.AgentDir("images"))
}

// Dial connects to the container runtime.
func Dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func waitRuntime(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, runtimeLimit)
	defer cancel()
	connection, err := Dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	client := runtimeapi.NewRuntimeServiceClient(connection)
	for {
		_, err := client.Version(limited, &runtimeapi.VersionRequest{})
		if err == nil {
			logrus.Info("containerd is now running")
			return nil
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("containerd did not answer on %s: %w", Socket, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// importImages loads the archives of an air-gapped installation.
func importImages(ctx context.Context, dir string) error {
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		output, err := exec.CommandContext(ctx, "/usr/bin/ctr", "-a", Socket, "-n", "k8s.io", "images", "import", "--no-unpack=false", archive).CombinedOutput()
		if err != nil {
			logrus.Errorf("Failed to import %s: %v: %s", archive, err, output)
			continue
		}
		logrus.Infof("Imported images from %s", archive)
	}
	return nil
}
