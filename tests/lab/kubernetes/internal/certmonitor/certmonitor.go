// Package certmonitor warns of certificates that are near their end by events about the Node, as the original's package of
// that name does.
package certmonitor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/kubeconfig"
)

const (
	component    = "k3s-cert-monitor"
	checkEvery   = 30 * time.Minute
	askEvery     = time.Second
	warnLeaf     = 120 * 24 * time.Hour
	warnCA       = 365 * 24 * time.Hour
	certificates = "*.crt"
)

// Run checks this node's certificates, and a server's own, once the API server answers and then twice an hour.
func Run(ctx context.Context, n *config.Node) error {
	rest, err := kubeconfig.Load(n.AgentDir("kubelet.kubeconfig"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(metav1.NamespaceDefault)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component, Host: os.Getenv("NODE_NAME")})
	node := &corev1.ObjectReference{Kind: "Node", Name: n.Name, UID: types.UID(n.Name)}
	tls := filepath.Join(n.DataDir, "server", "tls")
	go func() {
		if !ready(ctx, client) {
			return
		}
		first := true
		wait.UntilWithContext(ctx, func(context.Context) {
			sound := check(recorder, node, tls, n.AgentDir())
			if first && sound {
				recorder.Event(node, corev1.EventTypeNormal, "CertificateExpirationOK", "Node and Certificate Authority certificates managed by k3s are OK")
			}
			first = false
		}, checkEvery)
	}()
	return nil
}

func ready(ctx context.Context, client *kubernetes.Clientset) bool {
	return wait.PollUntilContextCancel(ctx, askEvery, true, func(ctx context.Context) (bool, error) {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
	}) == nil
}

// check says whether all certificates are sound, and records an event for each kind that is not.
func check(recorder record.EventRecorder, node *corev1.ObjectReference, tls, agent string) bool {
	leaves, authorities := files(tls, agent)
	now := time.Now()
	sound := true
	if err := expiring(leaves, now, warnLeaf); err != nil {
		recorder.Event(node, corev1.EventTypeWarning, "CertificateExpirationWarning",
			fmt.Sprintf("Node certificates require attention - restart k3s on this node to trigger automatic rotation: %v", err))
		sound = false
	}
	if err := expiring(authorities, now, warnCA); err != nil {
		recorder.Event(node, corev1.EventTypeWarning, "CACertificateExpirationWarning",
			fmt.Sprintf("Certificate Authority certificates require attention - check k3s documentation and begin planning rotation: %v", err))
		sound = false
	}
	return sound
}

// files are what k3s looks at: the leaves of this node and, on a server, of its control plane, and the authorities.
func files(tls, agent string) (leaves, authorities []string) {
	for _, dir := range []string{tls, filepath.Join(tls, "etcd"), agent} {
		found, _ := filepath.Glob(filepath.Join(dir, certificates))
		for _, path := range found {
			name := filepath.Base(path)
			switch {
			case !strings.HasSuffix(name, "-ca.crt"):
				leaves = append(leaves, path)
			case dir != agent:
				authorities = append(authorities, path)
			}
		}
	}
	return leaves, authorities
}

// services are the original's names of what a certificate is for, by the beginning of its file's name.
//
// Source: k3s@af977adf pkg/util/services/services.go.
var services = []struct{ file, service string }{
	{"client-admin", "admin"},
	{"client-auth-proxy", "auth-proxy"},
	{"client-controller", "controller-manager"},
	{"client-k3s-controller", "k3s-controller"},
	{"client-kube-apiserver", "api-server"},
	{"serving-kube-apiserver", "api-server"},
	{"client-kube-proxy", "kube-proxy"},
	{"client-kubelet", "kubelet"},
	{"serving-kubelet", "kubelet"},
	{"client-scheduler", "scheduler"},
	{"client-supervisor", "supervisor"},
}

func service(path string) string {
	name := filepath.Base(path)
	if strings.HasSuffix(name, "-ca.crt") {
		return "certificate-authority"
	}
	for _, known := range services {
		if name == known.file+".crt" {
			return known.service
		}
	}
	return "etcd"
}

// expiring lists the certificates of these files that are not valid for so long from now on, in the original's words.
func expiring(paths []string, now time.Time, period time.Duration) error {
	var found []error
	for _, path := range slices.Sorted(slices.Values(paths)) {
		text, err := os.ReadFile(path)
		if err != nil {
			logrus.Debugf("certificate not read: %v", err)
			continue
		}
		about := service(path) + "/" + filepath.Base(path)
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue
			}
			end := certificate.NotAfter.Format(time.RFC3339)
			switch {
			case now.Before(certificate.NotBefore):
				found = append(found, fmt.Errorf("%s: certificate %s is not valid before %s", about, certificate.Subject, certificate.NotBefore.Format(time.RFC3339)))
			case now.After(certificate.NotAfter):
				found = append(found, fmt.Errorf("%s: certificate %s expired at %s", about, certificate.Subject, end))
			case now.Add(period).After(certificate.NotAfter):
				found = append(found, fmt.Errorf("%s: certificate %s will expire within %d days at %s", about, certificate.Subject, int(period.Hours()/24), end))
			}
		}
	}
	return errors.Join(found...)
}
