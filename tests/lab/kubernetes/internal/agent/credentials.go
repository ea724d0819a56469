package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/pki"
	"slicer-k3s.lab/kubernetes/internal/supervisor"
)

const retryEvery = 5 * time.Second

// credentials asks the server for this node's certificates until it gets them, and returns the cluster's settings.
func credentials(ctx context.Context, n *config.Node, client *join.Client, api, password string) (config.Critical, error) {
	for {
		cluster, err := fetch(ctx, n, client, api, password)
		if err == nil {
			return cluster, nil
		}
		// In the original's words, which people search for.
		var status *join.StatusError
		text := err.Error()
		if errors.As(err, &status) && status.Code == http.StatusForbidden {
			text = status.Body
		}
		logrus.Infof("Waiting to retrieve agent configuration; server is not ready: %s", text)
		select {
		case <-ctx.Done():
			return cluster, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

func fetch(ctx context.Context, n *config.Node, client *join.Client, api, password string) (config.Critical, error) {
	var cluster config.Critical
	answer, err := client.Get(ctx, "/v1-k3s/config")
	if err != nil {
		return cluster, err
	}
	if err := json.Unmarshal(answer, &cluster); err != nil {
		return cluster, err
	}
	header := map[string]string{supervisor.HeaderNodeName: n.Name, supervisor.HeaderNodePassword: password, supervisor.HeaderNodeIP: n.IP.String()}
	for _, name := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		request, err := pki.Request(n.AgentDir(name + ".key"))
		if err != nil {
			return cluster, err
		}
		certificate, err := client.Send(ctx, http.MethodPost, "/v1-k3s/"+name+".crt", header, request)
		if err != nil {
			return cluster, err
		}
		if err := files.Write(n.AgentDir(name+".crt"), certificate, 0o600); err != nil {
			return cluster, err
		}
	}
	for _, name := range []string{"server-ca.crt", "client-ca.crt"} {
		authority, err := client.Get(ctx, "/v1-k3s/"+name)
		if err != nil {
			return cluster, err
		}
		if err := files.Write(n.AgentDir(name), authority, 0o600); err != nil {
			return cluster, err
		}
	}
	for file, leaf := range map[string]string{"kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy", "k3scontroller": "client-k3s-controller"} {
		if err := kubeconfig.Component(n.AgentDir(file+".kubeconfig"), api, n.AgentDir("server-ca.crt"), n.AgentDir(leaf+".crt"), n.AgentDir(leaf+".key")); err != nil {
			return cluster, err
		}
	}
	return cluster, nil
}
