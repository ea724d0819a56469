package supervisor

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/nodepassword"
	"slicer-k3s.lab/kubernetes/internal/pki"
)

// Headers by which a node says who it is when it asks for its certificates.
const (
	HeaderNodeName     = "k3s-Node-Name"
	HeaderNodePassword = "k3s-Node-Password"
	HeaderNodeIP       = "k3s-Node-IP"
)

const requestLimit = 1 << 16

func (s *Supervisor) servingKubelet(w http.ResponseWriter, r *http.Request) {
	node, ok := s.node(w, r)
	if !ok {
		return
	}
	hosts := []string{node, "localhost", "127.0.0.1"}
	for ip := range strings.SplitSeq(r.Header.Get(HeaderNodeIP), ",") {
		if net.ParseIP(ip) != nil {
			hosts = append(hosts, ip)
		}
	}
	s.sign(w, r, "server-ca", pki.Leaf{Name: node, Hosts: hosts, Server: true})
}

func (s *Supervisor) clientKubelet(w http.ResponseWriter, r *http.Request) {
	if node, ok := s.node(w, r); ok {
		s.sign(w, r, "client-ca", pki.Leaf{Name: "system:node:" + node, Groups: []string{groupNodes}, Client: true})
	}
}

func (s *Supervisor) clientNamed(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.sign(w, r, "client-ca", pki.Leaf{Name: name, Client: true})
	}
}

// node checks the node's password and returns its name; what is wrong has then been answered already.
func (s *Supervisor) node(w http.ResponseWriter, r *http.Request) (string, bool) {
	name, password := strings.ToLower(r.Header.Get(HeaderNodeName)), r.Header.Get(HeaderNodePassword)
	if name == "" {
		http.Error(w, "node name not set", http.StatusBadRequest)
		return "", false
	}
	client := s.client.Load()
	if client == nil {
		http.Error(w, "runtime core not ready", http.StatusServiceUnavailable)
		return "", false
	}
	// A node that shows a certificate of another node may not take this one's name.
	if who := s.certified(r); who != nil && slices.Contains(who.groups, groupNodes) && who.name != "system:node:"+name {
		http.Error(w, "unable to verify hostname for node", http.StatusForbidden)
		return "", false
	}
	err := nodepassword.Ensure(r.Context(), client, name, password)
	if errors.Is(err, nodepassword.ErrRejected) {
		http.Error(w, err.Error(), http.StatusForbidden)
		return "", false
	}
	if err != nil {
		http.Error(w, "unable to verify password for node "+name+": "+err.Error(), http.StatusServiceUnavailable)
		return "", false
	}
	return name, true
}

func (s *Supervisor) sign(w http.ResponseWriter, r *http.Request, authority string, leaf pki.Leaf) {
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	signer, err := pki.Load(s.Config.ServerDir("tls"), authority)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	certificate, err := signer.SignRequest(request, leaf)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(certificate)
}

// apiservers lists where the cluster's API servers answer; agents balance over them.
func (s *Supervisor) apiservers(w http.ResponseWriter, r *http.Request) {
	client := s.client.Load()
	if client == nil {
		http.Error(w, "apiserver not ready", http.StatusServiceUnavailable)
		return
	}
	found, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(r.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	addresses := []string{}
	for _, endpoint := range found.Endpoints {
		for _, address := range endpoint.Addresses {
			for _, port := range found.Ports {
				if port.Port != nil {
					addresses = append(addresses, net.JoinHostPort(address, strconv.Itoa(int(*port.Port))))
				}
			}
		}
	}
	writeJSON(w, addresses)
}
