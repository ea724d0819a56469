package supervisor

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		s.sign(w, r, "client-ca", pki.Leaf{Name: userNode + node, Groups: []string{groupNodes}, Client: true})
	}
}

func (s *Supervisor) clientNamed(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.sign(w, r, "client-ca", pki.Leaf{Name: name, Client: true})
	}
}

func (s *Supervisor) sign(w http.ResponseWriter, r *http.Request, authority string, leaf pki.Leaf) {
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		refuse(w, r, http.StatusBadRequest, err)
		return
	}
	signer, err := pki.Load(s.Config.ServerDir("tls"), authority)
	if err != nil {
		refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	certificate, err := signer.SignRequest(request, leaf)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, err)
		return
	}
	_, _ = w.Write(certificate)
}

// apiservers lists where the cluster's API servers answer; agents balance over them.
func (s *Supervisor) apiservers(w http.ResponseWriter, r *http.Request) {
	client := s.client.Load()
	if client == nil {
		refuse(w, r, http.StatusServiceUnavailable, errCoreNotReady)
		return
	}
	found, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(r.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		refuse(w, r, http.StatusServiceUnavailable, err)
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
