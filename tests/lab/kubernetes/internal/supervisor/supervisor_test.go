package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/passwd"
	"slicer-k3s.lab/kubernetes/internal/pki"
)

const remote, loopback = "192.0.2.9:1000", "127.0.0.1:1000"

func underTest(t *testing.T) *Supervisor {
	t.Helper()
	s := &Supervisor{
		Config: &config.Server{Node: &config.Node{DataDir: t.TempDir(), Name: "self"}},
		Users: map[string]passwd.Entry{
			passwd.Server: {Password: "server-secret", Group: passwd.GroupServer},
			passwd.Node:   {Password: "agent-secret", Group: passwd.GroupAgent},
		},
		NodePassword: "own",
		Bootstrap:    func(_ context.Context, password string) ([]byte, error) { return []byte(password), nil },
		Rotate:       func(context.Context, string) error { return errors.New("a secret reason") },
	}
	if err := pki.Ensure(s.Config.ServerDir("tls")); err != nil {
		t.Fatal(err)
	}
	pool, err := certPool(s.tls("client-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	s.clientCA = pool
	return s
}

func ask(s *Supervisor, method, path, from, user, password string, certificates ...*x509.Certificate) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader("{}"))
	request.RemoteAddr = from
	request.Header.Set("User-Agent", "curl/7.88.1")
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	if len(certificates) > 0 {
		request.TLS = &tls.ConnectionState{PeerCertificates: certificates}
	}
	answer := httptest.NewRecorder()
	s.routes(http.NotFoundHandler()).ServeHTTP(answer, request)
	return answer
}

// k3s refuses everything below /db where its cluster is in SQLite, whatever the credentials.
func TestWithoutEtcd(t *testing.T) {
	s := underTest(t)
	s.WithoutEtcd = true
	for _, path := range []string{"/db/info", "/db/snapshot"} {
		answer := ask(s, "GET", path, remote, "", "")
		if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), "etcd datastore disabled") {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}

// Who may ask for what: no credentials are a 403, a wrong password a 401, and each of the two tokens opens only its own paths.
func TestRoles(t *testing.T) {
	s := underTest(t)
	for _, test := range []struct {
		method, path, from, user, password string
		want                               int
	}{
		{"GET", "/ping", remote, "", "", http.StatusOK},
		{"GET", "/v1-k3s/config", remote, "", "", http.StatusForbidden},
		{"GET", "/v1-k3s/config", remote, "node", "wrong", http.StatusUnauthorized},
		{"GET", "/v1-k3s/config", remote, "node", "", http.StatusUnauthorized},
		{"GET", "/v1-k3s/config", remote, "stranger", "agent-secret", http.StatusUnauthorized},
		{"GET", "/v1-k3s/config", remote, "node", "agent-secret", http.StatusOK},
		{"GET", "/v1-k3s/config", remote, "node", "server-secret", http.StatusUnauthorized},
		{"GET", "/v1-k3s/config", remote, "server", "server-secret", http.StatusForbidden},
		{"GET", "/v1-k3s/readyz", remote, "node", "agent-secret", http.StatusServiceUnavailable},
		{"GET", "/v1-k3s/server-bootstrap", remote, "node", "agent-secret", http.StatusForbidden},
		{"GET", "/v1-k3s/server-bootstrap", remote, "server", "agent-secret", http.StatusUnauthorized},
		{"GET", "/v1-k3s/server-bootstrap", remote, "server", "server-secret", http.StatusOK},
		{"GET", "/v1-k3s/server-bootstrap", loopback, "", "", http.StatusForbidden},
		{"GET", "/v1-k3s/token", remote, "server", "server-secret", http.StatusMethodNotAllowed},
		{"PUT", "/v1-k3s/token", remote, "server", "server-secret", http.StatusInternalServerError},
		// What is not k3s's own is the API server's.
		{"GET", "/v1-k3s/unknown", remote, "", "", http.StatusNotFound},
		{"GET", "/db/info", remote, "", "", http.StatusForbidden},
		{"GET", "/db/info", remote, "node", "agent-secret", http.StatusForbidden},
		// Allowed, but etcd is not started.
		{"GET", "/db/info", loopback, "", "", http.StatusInternalServerError},
		{"GET", "/db/info", remote, "server", "server-secret", http.StatusInternalServerError},
		{"PUT", "/db/info", loopback, "", "", http.StatusMethodNotAllowed},
		{"POST", "/v1-k3s/client-kubelet.crt", remote, "", "", http.StatusForbidden},
	} {
		if answer := ask(s, test.method, test.path, test.from, test.user, test.password); answer.Code != test.want {
			t.Errorf("%s %s from %s as %q with %q: %d, want %d", test.method, test.path, test.from, test.user, test.password, answer.Code, test.want)
		}
	}
	s.SetReady()
	if answer := ask(s, "GET", "/v1-k3s/readyz", remote, "node", "agent-secret"); answer.Body.String() != "ok" {
		t.Errorf("ready, but %q", answer.Body.String())
	}
}

// A refusal is a Kubernetes Status, and for curl one of several lines.
func TestRefusal(t *testing.T) {
	s := underTest(t)
	for _, test := range []struct{ path, message string }{
		{"/v1-k3s/config", "forbidden"},
		{"/db/info", "Internal error occurred: failed to get etcd MemberList: etcd not started"},
	} {
		answer := ask(s, "GET", test.path, loopback, "", "")
		body := answer.Body.String()
		var status v1.Status
		if err := json.Unmarshal([]byte(body), &status); err != nil || status.Kind != "Status" || status.Message != test.message || int(status.Code) != answer.Code {
			t.Errorf("%s: %s (%v), want %q", test.path, body, err, test.message)
		}
		if !strings.Contains(body, "\n  \"kind\": \"Status\"") || strings.TrimSpace(body[strings.LastIndex(strings.TrimSpace(body), "\n"):]) != "}" {
			t.Errorf("%s is not printed for people: %q", test.path, body)
		}
	}
	// The log has the reason; the client has a number to look for.
	answer := ask(s, "PUT", "/v1-k3s/token", remote, "server", "server-secret")
	if body := answer.Body.String(); strings.Contains(body, "secret reason") || !strings.Contains(body, "token error ID") {
		t.Errorf("a failed rotation says %s", body)
	}
}

// A node's certificate is as good as a token, and is enough beside a wrong one; a foreign one is as bad as a wrong password.
func TestCertificate(t *testing.T) {
	s, other := underTest(t), underTest(t)
	mine, foreign := certificate(t, s), certificate(t, other)
	for _, test := range []struct {
		what, user, password string
		certificate          *x509.Certificate
		want                 int
	}{
		{"a certificate alone", "", "", mine, http.StatusOK},
		{"a certificate beside a wrong password", "node", "retired", mine, http.StatusOK},
		{"another cluster's certificate", "", "", foreign, http.StatusUnauthorized},
		{"another cluster's certificate beside the right password", "node", "agent-secret", foreign, http.StatusOK},
	} {
		if answer := ask(s, "GET", "/v1-k3s/config", remote, test.user, test.password, test.certificate); answer.Code != test.want {
			t.Errorf("%s: %d, want %d", test.what, answer.Code, test.want)
		}
	}
}

func certificate(t *testing.T, s *Supervisor) *x509.Certificate {
	t.Helper()
	signer, err := pki.Load(s.Config.ServerDir("tls"), "client-ca")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "leaf")
	if err := signer.Issue(path, pki.Leaf{Name: userNode + "agent-1", Groups: []string{groupNodes}, Client: true}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// Before there is an API server, a server's own node gets in by its own password, and no other node does.
func TestNodeBeforeAPIServer(t *testing.T) {
	s := underTest(t)
	for _, test := range []struct {
		certified, name, password string
		want                      int
	}{
		{"", "", "own", http.StatusBadRequest},
		{"", "self", "", http.StatusBadRequest},
		{"", "self", "own", http.StatusOK},
		{"", "self", "wrong", http.StatusForbidden},
		{"", "other", "any", http.StatusServiceUnavailable},
		{"agent-1", "agent-2", "any", http.StatusBadRequest},
	} {
		if code, _ := s.checkNode(context.Background(), test.certified, test.name, test.password); code != test.want {
			t.Errorf("%+v: %d", test, code)
		}
	}
}
