package supervisor

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"slicer-k3s.lab/kubernetes/internal/config"
)

// Who may ask for what: agents never get what would make them servers, strangers get nothing but the CA.
func TestRoles(t *testing.T) {
	s := &Supervisor{
		Config:    &config.Server{Node: &config.Node{DataDir: t.TempDir()}},
		Passwords: func() (string, string) { return "server-secret", "agent-secret" },
		Bootstrap: func() ([]byte, error) { return []byte("{}"), nil },
	}
	handler := s.routes(http.NotFoundHandler())
	const remote, loopback = "192.0.2.9:1000", "127.0.0.1:1000"
	for _, test := range []struct {
		path, from, user, password string
		want                       int
	}{
		{"/ping", remote, "", "", http.StatusOK},
		{"/v1-k3s/config", remote, "", "", http.StatusUnauthorized},
		{"/v1-k3s/config", remote, "node", "wrong", http.StatusUnauthorized},
		{"/v1-k3s/config", remote, "node", "", http.StatusUnauthorized},
		{"/v1-k3s/config", remote, "node", "agent-secret", http.StatusOK},
		{"/v1-k3s/config", remote, "node", "server-secret", http.StatusOK},
		{"/v1-k3s/readyz", remote, "node", "agent-secret", http.StatusServiceUnavailable},
		{"/v1-k3s/server-bootstrap", remote, "node", "agent-secret", http.StatusForbidden},
		{"/v1-k3s/server-bootstrap", remote, "server", "agent-secret", http.StatusUnauthorized},
		{"/v1-k3s/server-bootstrap", remote, "server", "server-secret", http.StatusOK},
		{"/v1-k3s/server-bootstrap", loopback, "", "", http.StatusUnauthorized},
		{"/db/info", remote, "", "", http.StatusUnauthorized},
		{"/db/info", remote, "node", "agent-secret", http.StatusForbidden},
		// Allowed, but etcd is not started.
		{"/db/info", loopback, "", "", http.StatusInternalServerError},
		{"/db/info", remote, "server", "server-secret", http.StatusInternalServerError},
		{"/v1-k3s/client-kubelet.crt", remote, "", "", http.StatusUnauthorized},
	} {
		method := http.MethodGet
		if test.path == "/v1-k3s/client-kubelet.crt" {
			method = http.MethodPost
		}
		request := httptest.NewRequest(method, test.path, nil)
		request.RemoteAddr = test.from
		if test.user != "" {
			request.SetBasicAuth(test.user, test.password)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != test.want {
			t.Errorf("%s from %s as %q with %q: %d, want %d", test.path, test.from, test.user, test.password, answer.Code, test.want)
		}
	}
	s.SetReady()
	request := httptest.NewRequest(http.MethodGet, "/v1-k3s/readyz", nil)
	request.SetBasicAuth("node", "agent-secret")
	answer := httptest.NewRecorder()
	if handler.ServeHTTP(answer, request); answer.Body.String() != "ok" {
		t.Errorf("ready, but %q", answer.Body.String())
	}
}
