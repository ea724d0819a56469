// Package server runs `k3s server`: in which order its parts come up, and what they wait for.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/addons"
	"slicer-k3s.lab/kubernetes/internal/agent"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/controlplane"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/nodepassword"
	"slicer-k3s.lab/kubernetes/internal/notify"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/process"
	"slicer-k3s.lab/kubernetes/internal/supervisor"
	"slicer-k3s.lab/kubernetes/internal/token"
)

// apiLimit is the original's.
const apiLimit = 15 * time.Minute

// Run brings the server up and returns once it runs; what fails afterwards goes to the group of children. The
// function that it returns, never nil, ends what is not a child.
func Run(ctx context.Context, s *config.Server, children *process.Group) (func(), error) {
	none := func() {}
	nodePassword, err := agent.Identify(s.Node)
	if err != nil {
		return none, err
	}
	if err := prepareDatastore(s); err != nil {
		return none, fmt.Errorf("preparing server: %w", err)
	}
	origin, err := load(ctx, s)
	if err != nil {
		return none, fmt.Errorf("preparing server: failed to bootstrap cluster data: %w", err)
	}
	users, err := generate(s)
	if err != nil {
		return none, fmt.Errorf("preparing server: failed to generate server dependencies: %w", err)
	}
	front, member, err := listen(ctx, s, users, nodePassword)
	if err != nil {
		return none, fmt.Errorf("preparing server: failed to start supervisor listener: %w", err)
	}
	startPods, err := prepareAgent(ctx, s, users, nodePassword, children)
	if err != nil {
		return none, err
	}
	keeper := &nodes{member: member}
	started := make(chan error, 1)
	go func() { started <- startMember(ctx, s, member, origin) }()
	// The ticker starts with etcd, not with the API server: its phase is part of what a join costs.
	go member.Manage(ctx, keeper.report)
	if err := errors.Join(publish(s, users), writeAdmin(s)); err != nil {
		return member.Stop, err
	}
	if err := <-started; err != nil {
		return member.Stop, err
	}
	if err := member.WaitVoter(ctx); err != nil {
		return member.Stop, err
	}
	logrus.Info("ETCD server is now running")
	if err := keep(ctx, s, member); err != nil {
		return member.Stop, &process.Shutdown{Cause: fmt.Errorf("failed to save bootstrap data: %w", err)}
	}
	client, err := startControlPlane(ctx, s, children)
	if err != nil {
		return member.Stop, err
	}
	keeper.client.Store(client)
	front.SetClient(client)
	if err := startControllers(ctx, s, client, keeper, children); err != nil {
		return member.Stop, err
	}
	front.SetReady()
	if err := notify.Ready(); err != nil {
		logrus.Warnf("systemd not notified: %v", err)
	}
	logrus.Info("k3s is up and running")
	return member.Stop, startPods()
}

// listen opens the server's port, with etcd's name decided: from here on others can ask.
func listen(ctx context.Context, s *config.Server, users *passwd.Passwords, nodePassword string) (*supervisor.Supervisor, *etcd.Member, error) {
	if err := supervisor.Free(s.Port); err != nil {
		return nil, nil, err
	}
	if err := etcd.SetAside(datastore(s), s.URL); err != nil {
		return nil, nil, err
	}
	member, err := etcd.Open(datastore(s), s.ServerDir("tls"), s.Name, s.IP)
	if err != nil {
		return nil, nil, err
	}
	front := &supervisor.Supervisor{
		Config: s, Users: users.Users(), NodePassword: nodePassword, WithoutEtcd: isSQLite(s),
		Bootstrap: func(ctx context.Context, password string) ([]byte, error) {
			return serveBootstrap(ctx, s, member, password)
		},
		Rotate: func(ctx context.Context, fresh string) error { return rotate(ctx, s, member, fresh) },
	}
	front.SetMember(member)
	return front, member, front.Listen(ctx)
}

// prepareAgent makes the server a node too, through its own supervisor, as any other node would become one, and starts
// the container runtime. What it returns starts the rest.
func prepareAgent(ctx context.Context, s *config.Server, users *passwd.Passwords, nodePassword string, children *process.Group) (func() error, error) {
	if s.Bool("disable-agent") {
		return func() error { return nil }, nil
	}
	ca, err := os.ReadFile(s.ServerDir("tls", "server-ca.crt"))
	if err != nil {
		return nil, err
	}
	own, err := agent.Connect(ctx, s.Node, fmt.Sprintf("https://127.0.0.1:%d", s.Port), token.Format(token.HashCA(ca), passwd.Node, users.Get(passwd.Node)))
	if err != nil {
		return nil, err
	}
	cluster, err := agent.Credentials(ctx, s.Node, own, controlplane.APIURL(s.Port), nodePassword)
	if err != nil {
		return nil, err
	}
	runtime := make(chan struct{})
	go func() {
		if err := agent.StartRuntime(ctx, s.Node, children); err != nil {
			children.Failed <- &process.Shutdown{Cause: fmt.Errorf("failed to start container runtime: %w", err)}
			return
		}
		close(runtime)
	}()
	return func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-runtime:
			return agent.Run(ctx, s.Node, cluster, children)
		}
	}, nil
}

// startMember starts etcd: again, newly, or as one more member of the cluster behind origin.
func startMember(ctx context.Context, s *config.Server, member *etcd.Member, origin *join.Client) error {
	if origin == nil || etcd.Initialized(datastore(s)) {
		logrus.Infof("Starting etcd for cluster member %s", member.Name)
		if err := member.Start(""); err != nil {
			return fmt.Errorf("starting kubernetes: failed to start cluster: start managed database: %w", err)
		}
		return nil
	}
	server, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	err = member.Join(ctx, etcd.Cluster{Host: server.Hostname(), List: func(ctx context.Context) (etcd.Members, error) {
		var members etcd.Members
		answer, err := origin.Get(ctx, "/db/info")
		if err != nil {
			return members, &etcd.ListError{Cause: err}
		}
		return members, json.Unmarshal(answer, &members)
	}})
	if err != nil {
		return &process.Shutdown{Cause: fmt.Errorf("etcd cluster join failed: %w", err)}
	}
	return nil
}

// keep puts the bootstrap data into the datastore where it is not there yet. Data sealed with another token is an error.
func keep(ctx context.Context, s *config.Server, member *etcd.Member) error {
	password, err := currentPassword(s)
	if err != nil {
		return err
	}
	return save(ctx, s, member, password, false)
}

func startControlPlane(ctx context.Context, s *config.Server, children *process.Group) (*kubernetes.Clientset, error) {
	if err := children.Component("kube-apiserver", controlplane.APIServer(s)...); err != nil {
		return nil, err
	}
	rest, err := kubeconfig.Load(controlplane.Kubeconfig(s, "supervisor"))
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, apiLimit)
	defer cancel()
	for {
		status := 0
		err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(limited).StatusCode(&status).Error()
		if err == nil && status == http.StatusOK {
			logrus.Info("Kube API server is now running")
			return client, nil
		}
		select {
		case <-limited.Done():
			return nil, &process.Shutdown{Cause: fmt.Errorf("failed to wait for API server to become ready: %w", limited.Err())}
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func startControllers(ctx context.Context, s *config.Server, client *kubernetes.Clientset, keeper *nodes, children *process.Group) error {
	if err := children.Component("kube-controller-manager", controlplane.ControllerManager(s)...); err != nil {
		return err
	}
	if err := children.Component("kube-scheduler", controlplane.Scheduler(s)...); err != nil {
		return err
	}
	if err := ensureRoles(ctx, client); err != nil {
		return err
	}
	if !s.Critical.DisableHelmController {
		if err := children.Component("helm-controller", controlplane.HelmController(s)...); err != nil {
			return err
		}
	}
	go keeper.label(ctx)
	go afterReset(ctx, s, client)
	go nodepassword.Sweep(ctx, client)
	startRemoval(ctx, client, keeper.member, children)
	return addons.Run(ctx, s, controlplane.Kubeconfig(s, "supervisor"))
}
