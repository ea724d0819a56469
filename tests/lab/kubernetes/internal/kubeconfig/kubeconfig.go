// Package kubeconfig writes the files that clients of the API server find their way with.
package kubeconfig

import (
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"slicer-k3s.lab/kubernetes/internal/files"
)

// Component writes a kubeconfig that refers to certificate files.
func Component(path, server, ca, certificate, key string) error {
	return write(path, 0o600, api.Cluster{Server: server, CertificateAuthority: ca}, api.AuthInfo{ClientCertificate: certificate, ClientKey: key}, "local")
}

// Admin writes the kubeconfig for people: self-contained, every name `default`.
func Admin(path string, mode os.FileMode, server, ca, certificate, key string) error {
	cluster, user := api.Cluster{Server: server}, api.AuthInfo{}
	var err error
	if cluster.CertificateAuthorityData, err = os.ReadFile(ca); err != nil {
		return err
	}
	if user.ClientCertificateData, err = os.ReadFile(certificate); err != nil {
		return err
	}
	if user.ClientKeyData, err = os.ReadFile(key); err != nil {
		return err
	}
	return write(path, mode, cluster, user, "default")
}

func write(path string, mode os.FileMode, cluster api.Cluster, user api.AuthInfo, name string) error {
	config := api.NewConfig()
	config.Clusters[name] = &cluster
	config.AuthInfos[name] = &user
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	content, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return files.Write(path, content, mode)
}

// Load reads a kubeconfig for a client of our own, whose requests are not throttled on the client's side.
func Load(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	return config, nil
}
