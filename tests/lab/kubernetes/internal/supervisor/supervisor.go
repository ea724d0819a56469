// Package supervisor is what listens on port 6443 of every server: k3s's own endpoints, and the API server behind them.
package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/controlplane"
	"slicer-k3s.lab/kubernetes/internal/etcd"
)

// Supervisor answers on the server's port.
type Supervisor struct {
	Config    *config.Server
	Passwords func() (server, agent string)
	Bootstrap func() ([]byte, error)

	clientCA *x509.CertPool
	client   atomic.Pointer[kubernetes.Clientset]
	member   atomic.Pointer[etcd.Member]
	rotate   atomic.Pointer[Rotation]
	ready    atomic.Bool
}

// Rotation takes a new server token into use.
type Rotation = func(ctx context.Context, fresh string) error

// SetClient says that the API server answers.
func (s *Supervisor) SetClient(client *kubernetes.Clientset) { s.client.Store(client) }

// SetMember says that etcd is started, and how the token that guards it is changed.
func (s *Supervisor) SetMember(member *etcd.Member, rotate Rotation) {
	s.member.Store(member)
	s.rotate.Store(&rotate)
}

// SetReady says that the core controllers run.
func (s *Supervisor) SetReady() { s.ready.Store(true) }

func (s *Supervisor) tls(name string) string { return s.Config.ServerDir("tls", name) }

// Listen opens the port and serves it until the context ends.
func (s *Supervisor) Listen(ctx context.Context) error {
	pool, err := certPool(s.tls("client-ca.crt"))
	if err != nil {
		return err
	}
	s.clientCA = pool
	proxy, err := s.proxy()
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(s.tls("serving-kube-apiserver.crt"), s.tls("serving-kube-apiserver.key"))
	if err != nil {
		return err
	}
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// The API server listens on the same port of a loopback address of its own, so that the addresses it
		// advertises carry the right port; that takes SO_REUSEPORT on both.
		var failure error
		if err := raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
			return err
		}
		return failure
	}}
	listener, err := listen.Listen(ctx, "tcp4", fmt.Sprintf("0.0.0.0:%d", s.Config.Port))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: s.routes(proxy), ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(logrus.StandardLogger().WriterLevel(logrus.DebugLevel), "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}},
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() {
		if err := server.ServeTLS(elsewhere{listener}, "", ""); err != nil && ctx.Err() == nil {
			logrus.Fatalf("server stopped: %v", err)
		}
	}()
	return nil
}

// elsewhere refuses what is meant for the API server's own address: until that listens there, such connections would
// come back to us and stay.
type elsewhere struct{ net.Listener }

func (l elsewhere) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if address, ok := connection.LocalAddr().(*net.TCPAddr); !ok || !controlplane.Owns(address.IP) {
			return connection, nil
		}
		_ = connection.Close()
	}
}

func (s *Supervisor) routes(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "pong") })
	mux.HandleFunc("GET /cacerts", s.file("server-ca.crt"))
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServer(http.Dir(s.Config.ServerDir("static")))))
	mux.HandleFunc("GET /v1-k3s/readyz", s.allow(agentRole, s.readyz))
	mux.HandleFunc("GET /v1-k3s/config", s.allow(agentRole, s.config))
	mux.HandleFunc("GET /v1-k3s/apiservers", s.allow(agentRole, s.apiservers))
	mux.HandleFunc("GET /v1-k3s/server-ca.crt", s.allow(agentRole, s.file("server-ca.crt")))
	mux.HandleFunc("GET /v1-k3s/client-ca.crt", s.allow(agentRole, s.file("client-ca.crt")))
	mux.HandleFunc("POST /v1-k3s/serving-kubelet.crt", s.allow(agentRole, s.servingKubelet))
	mux.HandleFunc("POST /v1-k3s/client-kubelet.crt", s.allow(agentRole, s.clientKubelet))
	mux.HandleFunc("POST /v1-k3s/client-kube-proxy.crt", s.allow(agentRole, s.clientNamed("system:kube-proxy")))
	mux.HandleFunc("POST /v1-k3s/client-k3s-controller.crt", s.allow(agentRole, s.clientNamed("system:k3s-controller")))
	mux.HandleFunc("GET /v1-k3s/server-bootstrap", s.allow(serverRole, s.bootstrap))
	mux.HandleFunc("PUT /v1-k3s/token", s.allow(serverRole, s.rotateToken))
	mux.HandleFunc("/v1-k3s/", s.allow(agentRole, http.NotFound))
	mux.HandleFunc("GET /db/info", s.allowLoopback(serverRole, s.dbInfo))
	mux.Handle("/", api)
	return mux
}

func (s *Supervisor) file(name string) http.HandlerFunc {
	path := s.tls(name)
	return func(w http.ResponseWriter, _ *http.Request) {
		content, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(content)
	}
}

func (s *Supervisor) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "runtime core not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprint(w, "ok")
}

func (s *Supervisor) config(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.Config.Critical)
}

func (s *Supervisor) bootstrap(w http.ResponseWriter, _ *http.Request) {
	content, err := s.Bootstrap()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(content)
}

func (s *Supervisor) dbInfo(w http.ResponseWriter, r *http.Request) {
	members, err := s.member.Load().Info(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, members)
}

func (s *Supervisor) rotateToken(w http.ResponseWriter, r *http.Request) {
	var body struct {
		NewToken string `json:"newToken"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&body); err != nil || body.NewToken == "" {
		http.Error(w, "a new token is required", http.StatusBadRequest)
		return
	}
	rotate := s.rotate.Load()
	if rotate == nil {
		http.Error(w, "etcd is not started", http.StatusServiceUnavailable)
		return
	}
	if err := (*rotate)(r.Context(), body.NewToken); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		logrus.Debugf("response not written: %v", err)
	}
}

func certPool(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
