package controlplane

import (
	"fmt"
	"path/filepath"

	"slicer-k3s.lab/kubernetes/internal/config"
)

// APIServer is the API server's command line.
func APIServer(s *config.Server) []string {
	tls := func(name string) string { return filepath.Join(s.ServerDir("tls"), name) }
	args := []string{
		"--advertise-address=" + s.Advertise,
		"--allow-privileged=true",
		"--anonymous-auth=false",
		"--authorization-mode=Node,RBAC",
		"--bind-address=" + apiAddress,
		fmt.Sprintf("--secure-port=%d", s.Port),
		"--permit-port-sharing=true",
		"--client-ca-file=" + tls("client-ca.crt"),
		"--enable-admission-plugins=NodeRestriction",
		"--enable-bootstrap-token-auth=true",
		"--etcd-servers=https://127.0.0.1:2379",
		"--etcd-cafile=" + tls("etcd/server-ca.crt"),
		"--etcd-certfile=" + tls("etcd/client.crt"),
		"--etcd-keyfile=" + tls("etcd/client.key"),
		"--kubelet-certificate-authority=" + tls("server-ca.crt"),
		"--kubelet-client-certificate=" + tls("client-kube-apiserver.crt"),
		"--kubelet-client-key=" + tls("client-kube-apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		"--profiling=false",
		"--proxy-client-cert-file=" + tls("client-auth-proxy.crt"),
		"--proxy-client-key-file=" + tls("client-auth-proxy.key"),
		"--requestheader-allowed-names=system:auth-proxy",
		"--requestheader-client-ca-file=" + tls("request-header-ca.crt"),
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=https://kubernetes.default.svc." + s.Critical.ClusterDomain,
		"--service-account-key-file=" + tls("service.key"),
		"--service-account-signing-key-file=" + tls("service.key"),
		"--service-cluster-ip-range=" + s.Critical.ServiceCIDR,
		"--service-node-port-range=" + s.Text("service-node-port-range", "30000-32767"),
		"--tls-cert-file=" + tls("serving-kube-apiserver.crt"),
		"--tls-private-key-file=" + tls("serving-kube-apiserver.key"),
	}
	if s.Critical.EncryptSecrets {
		args = append(args, "--encryption-provider-config="+EncryptionConfig(s))
	}
	return append(args, extra(s, "kube-apiserver-arg")...)
}

// ControllerManager is the controller manager's command line.
func ControllerManager(s *config.Server) []string {
	tls := func(name string) string { return filepath.Join(s.ServerDir("tls"), name) }
	kubeconfig := Kubeconfig(s, "controller")
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--allocate-node-cidrs=true",
		"--bind-address=127.0.0.1",
		"--secure-port=10257",
		"--cluster-cidr=" + s.Critical.ClusterCIDR,
		"--service-cluster-ip-range=" + s.Critical.ServiceCIDR,
		"--controllers=*,tokencleaner",
		"--kube-api-qps=200",
		"--kube-api-burst=300",
		"--profiling=false",
		"--root-ca-file=" + tls("server-ca.crt"),
		"--service-account-private-key-file=" + tls("service.key"),
		"--use-service-account-credentials=true",
	}
	for _, signer := range []struct{ name, authority string }{
		{"kube-apiserver-client", "client-ca"}, {"kubelet-client", "client-ca"}, {"kubelet-serving", "server-ca"}, {"legacy-unknown", "server-ca"},
	} {
		args = append(args, fmt.Sprintf("--cluster-signing-%s-cert-file=%s", signer.name, tls(signer.authority+".crt")),
			fmt.Sprintf("--cluster-signing-%s-key-file=%s", signer.name, tls(signer.authority+".key")))
	}
	return append(args, extra(s, "kube-controller-manager-arg")...)
}

// Scheduler is the scheduler's command line.
func Scheduler(s *config.Server) []string {
	kubeconfig := Kubeconfig(s, "scheduler")
	return append([]string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port=10259",
		"--profiling=false",
	}, extra(s, "kube-scheduler-arg")...)
}

// HelmController is the command line of the controller that installs HelmCharts.
func HelmController(s *config.Server) []string {
	return []string{
		"--kubeconfig=" + Kubeconfig(s, "supervisor"),
		"--node-name=" + s.Name,
		"--default-job-image=" + s.Text("helm-job-image", "docker.io/rancher/klipper-helm:v0.11.0-build20260602"),
	}
}

func extra(s *config.Server, name string) []string {
	args := []string{}
	for _, item := range s.List(name) {
		args = append(args, "--"+item)
	}
	return args
}
