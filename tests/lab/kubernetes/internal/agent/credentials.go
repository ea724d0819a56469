package agent

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/join"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
	"slicer-k3s.lab/kubernetes/internal/pki"
	"slicer-k3s.lab/kubernetes/internal/supervisor"
)

const retryEvery = 5 * time.Second

// Credentials asks the server for this node's certificates until it gets them, and returns the cluster's settings.
func Credentials(ctx context.Context, n *config.Node, client *join.Client, api, password string) (config.Critical, error) {
	for {
		cluster, err := fetch(ctx, n, client, api, password)
		if err == nil {
			return cluster, nil
		}
		logrus.Infof("Waiting to retrieve agent configuration; server is not ready: %v", err)
		select {
		case <-ctx.Done():
			return cluster, ctx.Err()
		case <-time.After(retryEvery + rand.N(retryEvery)): //nolint:gosec // spreads the agents, no secret
		}
	}
}

// certificate has the key of a certificate signed. Where the Node of this node's certificate is gone, the token alone
// counts.
func certificate(ctx context.Context, n *config.Node, client *join.Client, name, password string) ([]byte, error) {
	request, err := pki.Request(n.AgentDir(name + ".key"))
	if err != nil {
		return nil, err
	}
	path := "/v1-k3s/" + name + ".crt"
	header := map[string]string{supervisor.HeaderNodeName: n.Name, supervisor.HeaderNodePassword: password, supervisor.HeaderNodeIP: n.IP.String()}
	signed, err := client.Send(ctx, http.MethodPost, path, header, request)
	if apierrors.IsUnauthorized(err) {
		logrus.Info("Node authorization rejected, retrying without client certificate authentication")
		signed, err = client.SendPlainly(ctx, http.MethodPost, path, header, request)
	}
	if apierrors.IsForbidden(err) {
		return nil, errRejected
	}
	return signed, err
}

// errRejected is said in the original's words, which people search for.
var errRejected = errors.New("Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag") //nolint:staticcheck // the original's words

func fetch(ctx context.Context, n *config.Node, client *join.Client, api, password string) (config.Critical, error) {
	var cluster config.Critical
	answer, err := client.Get(ctx, "/v1-k3s/config")
	if err != nil {
		return cluster, err
	}
	if err := json.Unmarshal(answer, &cluster); err != nil {
		return cluster, err
	}
	for _, name := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		signed, err := certificate(ctx, n, client, name, password)
		if err != nil {
			return cluster, err
		}
		if err := files.Write(n.AgentDir(name+".crt"), signed, 0o600); err != nil {
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
