package supervisor

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// identity is who a request comes from, by client certificate or by token.
type identity struct {
	name   string
	groups []string
}

const (
	groupServer    = "k3s:server"
	groupAgent     = "k3s:agent"
	groupNodes     = "system:nodes"
	groupMasters   = "system:masters"
	groupBootstrap = "system:bootstrappers:k3s:default-node-token"
)

var (
	agentRole  = []string{groupServer, groupAgent, groupNodes, groupBootstrap, groupMasters}
	serverRole = []string{groupServer, groupMasters}
)

// certified returns the identity of a verified client certificate.
func (s *Supervisor) certified(r *http.Request) *identity {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	leaf := r.TLS.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, certificate := range r.TLS.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.clientCA, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil
	}
	return &identity{name: leaf.Subject.CommonName, groups: leaf.Subject.Organization}
}

func (s *Supervisor) authenticate(r *http.Request) *identity {
	if who := s.certified(r); who != nil {
		return who
	}
	if user, password, ok := r.BasicAuth(); ok {
		serverPassword, agentPassword := s.Passwords()
		switch {
		case user == "server" && equal(password, serverPassword):
			return &identity{name: user, groups: []string{groupServer}}
		case user == "node" && (equal(password, agentPassword) || equal(password, serverPassword)):
			return &identity{name: user, groups: []string{groupAgent}}
		}
		return nil
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.bootstrapToken(r.Context(), bearer)
	}
	return nil
}

// bootstrapToken looks the token up where `k3s token create` put it.
func (s *Supervisor) bootstrapToken(ctx context.Context, bearer string) *identity {
	client := s.client.Load()
	id, secret, found := strings.Cut(bearer, ".")
	if client == nil || !found {
		return nil
	}
	stored, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, "bootstrap-token-"+id, metav1.GetOptions{})
	if err != nil || stored.Type != "bootstrap.kubernetes.io/token" || !equal(secret, string(stored.Data["token-secret"])) || string(stored.Data["usage-bootstrap-authentication"]) != "true" {
		return nil
	}
	if expiration := string(stored.Data["expiration"]); expiration != "" {
		if end, err := time.Parse(time.RFC3339, expiration); err != nil || time.Now().After(end) {
			return nil
		}
	}
	return &identity{name: "system:bootstrap:" + id, groups: []string{groupBootstrap}}
}

// allow runs the handler for those who have one of the groups.
func (s *Supervisor) allow(groups []string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := s.authenticate(r)
		if who == nil {
			http.Error(w, "not authorized", http.StatusUnauthorized)
			return
		}
		if !slices.ContainsFunc(who.groups, func(group string) bool { return slices.Contains(groups, group) }) {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// allowLoopback also lets everybody on this machine in.
func (s *Supervisor) allowLoopback(groups []string, next http.HandlerFunc) http.HandlerFunc {
	checked := s.allow(groups, next)
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err == nil && net.ParseIP(host).IsLoopback() {
			next(w, r)
			return
		}
		checked(w, r)
	}
}

func equal(given, wanted string) bool {
	return wanted != "" && subtle.ConstantTimeCompare([]byte(given), []byte(wanted)) == 1
}
