package supervisor

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/passwd"
)

// identity is who a request comes from, by password, client certificate or token.
type identity struct {
	name   string
	groups []string
}

const (
	groupNodes     = "system:nodes"
	groupBootstrap = "system:bootstrappers"
	userNode       = "system:node:"
)

var (
	agentRole  = []string{passwd.GroupAgent, groupNodes, groupBootstrap}
	serverRole = []string{passwd.GroupServer}
)

var errNotAuthorized = errors.New("not authorized")

type identityKey struct{}

// whose is who an allowed request comes from.
func whose(r *http.Request) identity {
	who, _ := r.Context().Value(identityKey{}).(identity)
	return who
}

// node is the name of the node that this is, empty where it is none.
func (i identity) node() string {
	if !slices.Contains(i.groups, groupNodes) {
		return ""
	}
	name, _ := strings.CutPrefix(i.name, userNode)
	return name
}

// authenticate tries every kind of credentials that there are. None at all is no error; where one is good, others may
// be wrong.
func (s *Supervisor) authenticate(r *http.Request) (*identity, error) {
	wrong := false
	for _, try := range []func(*http.Request) (*identity, bool){s.byPassword, s.byCertificate, s.byToken} {
		who, given := try(r)
		if who != nil {
			return who, nil
		}
		wrong = wrong || given
	}
	if wrong {
		return nil, errNotAuthorized
	}
	return nil, nil //nolint:nilnil // no credentials are no error
}

func (s *Supervisor) byPassword(r *http.Request) (who *identity, given bool) {
	user, password, given := r.BasicAuth()
	if !given {
		return nil, false
	}
	if entry, known := s.Users[user]; known && equal(password, entry.Password) {
		return &identity{name: user, groups: []string{entry.Group}}, true
	}
	return nil, true
}

func (s *Supervisor) byCertificate(r *http.Request) (who *identity, given bool) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, false
	}
	leaf := r.TLS.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, certificate := range r.TLS.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.clientCA, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, true
	}
	return &identity{name: leaf.Subject.CommonName, groups: leaf.Subject.Organization}, true
}

// byToken looks a bootstrap token up where `k3s token create` put it. Before the API server runs no token is known at all.
func (s *Supervisor) byToken(r *http.Request) (who *identity, given bool) {
	bearer, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !given || s.client.Load() == nil {
		return nil, false
	}
	return s.bootstrapToken(r.Context(), bearer), true
}

func (s *Supervisor) bootstrapToken(ctx context.Context, bearer string) *identity {
	id, secret, found := strings.Cut(bearer, ".")
	if !found {
		return nil
	}
	stored, err := s.client.Load().CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, "bootstrap-token-"+id, metav1.GetOptions{})
	if err != nil || stored.Type != "bootstrap.kubernetes.io/token" || !equal(secret, string(stored.Data["token-secret"])) || string(stored.Data["usage-bootstrap-authentication"]) != "true" {
		return nil
	}
	if expiration := string(stored.Data["expiration"]); expiration != "" {
		if end, err := time.Parse(time.RFC3339, expiration); err != nil || time.Now().After(end) {
			return nil
		}
	}
	groups := []string{groupBootstrap}
	for extra := range strings.SplitSeq(string(stored.Data["auth-extra-groups"]), ",") {
		if extra != "" {
			groups = append(groups, extra)
		}
	}
	return &identity{name: "system:bootstrap:" + id, groups: groups}
}

// allow runs the handler for those who have one of the groups: wrong credentials are a 401, none or another's a 403.
func (s *Supervisor) allow(groups []string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.authenticate(r)
		if err != nil {
			logrus.Errorf("Failed to authenticate request from %s: invalid username/password combination", r.RemoteAddr)
			refuse(w, r, http.StatusUnauthorized, err)
			return
		}
		if who == nil || !slices.ContainsFunc(who.groups, func(group string) bool { return slices.Contains(groups, group) }) {
			refuse(w, r, http.StatusForbidden, errors.New("forbidden"))
			return
		}
		next(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, *who)))
	}
}

// allowLoopback also lets everybody on this machine in.
func (s *Supervisor) allowLoopback(groups []string, next http.HandlerFunc) http.HandlerFunc {
	checked := s.allow(groups, next)
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err == nil && (host == "127.0.0.1" || host == "::1") {
			next(w, r)
			return
		}
		checked(w, r)
	}
}

func equal(given, wanted string) bool {
	return wanted != "" && subtle.ConstantTimeCompare([]byte(given), []byte(wanted)) == 1
}
