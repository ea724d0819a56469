// Package server runs `k3s server`: in which order its parts come up, and what they wait for.
package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	"slicer-k3s.lab/kubernetes/internal/process"
	"slicer-k3s.lab/kubernetes/internal/supervisor"
	"slicer-k3s.lab/kubernetes/internal/token"
)

const apiLimit = 5 * time.Minute

// Run brings the server up and returns once it runs; what fails afterwards is told to the group of children. The
// function that it returns, never nil, ends what is not a child.
func Run(ctx context.Context, s *config.Server, children *process.Group) (func(), error) {
	none := func() {}
	nodePassword, err := agent.Identify(s.Node)
	if err != nil {
		return none, err
	}
	if err := etcd.BuryRemoved(s.ServerDir("db")); err != nil {
		return none, err
	}
	initialized := etcd.Initialized(s.ServerDir("db"))
	var origin *join.Client
	if s.URL != "" && !initialized {
		if origin, err = join.Connect(ctx, s.URL, s.Token, "server"); err != nil {
			return none, fmt.Errorf("starting kubernetes: preparing server: %w", err)
		}
		if err := fetchBundle(ctx, s, origin); err != nil {
			return none, fmt.Errorf("starting kubernetes: preparing server: %w", err)
		}
	}
	secrets, err := loadPasswords(s)
	if err != nil {
		return none, err
	}
	if err := prepare(s, secrets); err != nil {
		return none, fmt.Errorf("starting kubernetes: preparing server: %w", err)
	}
	front := &supervisor.Supervisor{Config: s, Passwords: secrets.get, Bootstrap: func() ([]byte, error) { return bundle(s) }}
	if err := front.Listen(ctx); err != nil {
		return none, err
	}
	if err := agent.StartRuntime(ctx, s.Node, children); err != nil {
		return none, err
	}
	member, err := startMember(ctx, s, origin)
	if err != nil {
		return none, err
	}
	front.SetMember(member, func(ctx context.Context, fresh string) error { return rotate(ctx, s, secrets, member, fresh) })
	go func() {
		<-member.Ended()
		children.Failed <- member.Gone()
	}()
	keeper := &nodes{member: member}
	clientReady := make(chan struct{})
	// The ticker starts with etcd, not with the API server: its phase is part of what a join costs.
	go member.Manage(ctx, func(ctx context.Context, health []etcd.Health) {
		select {
		case <-clientReady:
			keeper.report(ctx, health)
		default:
		}
	})
	if err := member.WaitVoter(ctx); err != nil {
		return member.Stop, err
	}
	if err := sealBundle(ctx, s, secrets, member); err != nil {
		return member.Stop, fmt.Errorf("starting kubernetes: preparing server: %w", err)
	}
	client, err := startControlPlane(ctx, s, children)
	if err != nil {
		return member.Stop, err
	}
	keeper.client = client
	close(clientReady)
	front.SetClient(client)
	if err := startControllers(ctx, s, client, keeper, children); err != nil {
		return member.Stop, err
	}
	front.SetReady()
	if err := notify.Ready(); err != nil {
		logrus.Warnf("systemd not notified: %v", err)
	}
	logrus.Info("k3s is up and running")
	return member.Stop, startAgent(ctx, s, secrets, nodePassword, children)
}

func sealBundle(ctx context.Context, s *config.Server, secrets *passwords, member *etcd.Member) error {
	content, err := bundle(s)
	if err != nil {
		return err
	}
	serverPassword, _ := secrets.get()
	return ensureSealed(ctx, member, serverPassword, content)
}

// startMember starts etcd: again, newly, or as one more member of the cluster behind origin.
func startMember(ctx context.Context, s *config.Server, origin *join.Client) (*etcd.Member, error) {
	member, err := etcd.Open(s.ServerDir("db"), s.ServerDir("tls"), s.Name, s.IP)
	if err != nil {
		return nil, err
	}
	if origin == nil {
		logrus.Infof("Starting etcd for cluster member %s", member.Name)
		return member, member.Start(ctx, "", false)
	}
	return member, member.Join(ctx, func(ctx context.Context) (etcd.Members, error) {
		var members etcd.Members
		answer, err := origin.Get(ctx, "/db/info")
		if err != nil {
			return members, err
		}
		return members, json.Unmarshal(answer, &members)
	})
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
			return nil, fmt.Errorf("failed to wait for API server to become ready: %w", limited.Err())
		case failure := <-children.Failed:
			return nil, failure
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
	go keeper.removeDeleted(ctx)
	go nodepassword.Sweep(ctx, client, keeper.member.Leads)
	return addons.Run(ctx, s, controlplane.Kubeconfig(s, "supervisor"))
}

// startAgent makes the server a node too: through its own supervisor, as any other node would.
func startAgent(ctx context.Context, s *config.Server, secrets *passwords, nodePassword string, children *process.Group) error {
	if s.Bool("disable-agent") {
		return nil
	}
	ca, err := os.ReadFile(s.ServerDir("tls", "server-ca.crt"))
	if err != nil {
		return err
	}
	_, agentPassword := secrets.get()
	own, err := join.Connect(ctx, fmt.Sprintf("https://127.0.0.1:%d", s.Port), token.Format(token.HashCA(ca), "node", agentPassword), "node")
	if err != nil {
		return err
	}
	return agent.Run(ctx, s.Node, own, controlplane.APIURL(s.Port), nodePassword, children)
}
