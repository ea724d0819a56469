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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/controlplane"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/passwd"
)

// Supervisor answers on the server's port.
type Supervisor struct {
	Config *config.Server
	// Users are those who may ask for what only nodes get. What becomes of the passwords' file later is for the next start.
	Users map[string]passwd.Entry
	// Bootstrap is what makes a server of a machine with this password.
	Bootstrap func(ctx context.Context, password string) ([]byte, error)
	// Rotate takes a new server token into use.
	Rotate func(ctx context.Context, fresh string) error
	// NodePassword is this machine's own.
	NodePassword string
	// WithoutEtcd says that its cluster counts as one in SQLite.
	WithoutEtcd bool

	clientCA *x509.CertPool
	client   atomic.Pointer[kubernetes.Clientset]
	member   atomic.Pointer[etcd.Member]
	ready    atomic.Bool
	deferred sync.Map
}

// SetClient says that the API server answers.
func (s *Supervisor) SetClient(client *kubernetes.Clientset) { s.client.Store(client) }

// SetMember says that etcd is about to start.
func (s *Supervisor) SetMember(member *etcd.Member) { s.member.Store(member) }

// SetReady says that the core controllers run.
func (s *Supervisor) SetReady() { s.ready.Store(true) }

func (s *Supervisor) tls(name string) string { return s.Config.ServerDir("tls", name) }

// Free says whether the port is: the way in which it is listened on would share it with another k3s. What a process that
// was just killed still holds of it is waited for.
func Free(port int) error {
	for since := time.Now(); ; time.Sleep(freeEvery) {
		alone, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err == nil {
			return alone.Close()
		}
		if time.Since(since) > freeLimit {
			return err
		}
	}
}

const (
	freeLimit = 2 * time.Second
	freeEvery = 100 * time.Millisecond
)

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
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "pong") })
	mux.HandleFunc("/cacerts", s.file("server-ca.crt"))
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir(s.Config.ServerDir("static")))))
	agent, server := s.router(agentRole), s.router(serverRole)
	agent(mux, "readyz", s.readyz)
	agent(mux, "config", s.config)
	agent(mux, "apiservers", s.apiservers)
	agent(mux, "server-ca.crt", s.file("server-ca.crt"))
	agent(mux, "client-ca.crt", s.file("client-ca.crt"))
	agent(mux, "serving-kubelet.crt", s.servingKubelet)
	agent(mux, "client-kubelet.crt", s.clientKubelet)
	agent(mux, "client-kube-proxy.crt", s.clientNamed("system:kube-proxy"))
	agent(mux, "client-k3s-controller.crt", s.clientNamed("system:k3s-controller"))
	server(mux, "server-bootstrap", s.bootstrap)
	server(mux, "token", s.rotateToken)
	if s.WithoutEtcd {
		mux.HandleFunc("/db/", func(w http.ResponseWriter, r *http.Request) { refuse(w, r, http.StatusBadRequest, errNoEtcd) })
	} else {
		mux.HandleFunc("/db/info", s.allowLoopback(serverRole, s.dbInfo))
		mux.HandleFunc("/db/snapshot", s.allow(serverRole, s.snapshots))
	}
	mux.Handle("/", api)
	return mux
}

// router registers paths for those who have one of the groups.
func (s *Supervisor) router(groups []string) func(*http.ServeMux, string, http.HandlerFunc) {
	return func(mux *http.ServeMux, name string, handler http.HandlerFunc) {
		mux.HandleFunc("/v1-k3s/"+name, s.allow(groups, handler))
	}
}

func (s *Supervisor) file(name string) http.HandlerFunc {
	path := s.tls(name)
	return func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			refuse(w, r, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(content)
	}
}

func (s *Supervisor) readyz(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		refuse(w, r, http.StatusServiceUnavailable, errCoreNotReady)
		return
	}
	fmt.Fprint(w, "ok")
}

func (s *Supervisor) config(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.Config.Critical)
}

// bootstrap answers with the data that was sealed with the caller's own password.
func (s *Supervisor) bootstrap(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	content, err := s.Bootstrap(r.Context(), password)
	if err != nil {
		refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(content)
}

func (s *Supervisor) dbInfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		refuse(w, r, http.StatusMethodNotAllowed, errMethod)
		return
	}
	members, err := s.member.Load().Info(r.Context())
	if err != nil {
		refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, members)
}

func (s *Supervisor) rotateToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		refuse(w, r, http.StatusMethodNotAllowed, errMethod)
		return
	}
	var body struct {
		NewToken string `json:"newToken"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit)).Decode(&body); err != nil {
		refuse(w, r, http.StatusBadRequest, err)
		return
	}
	if err := s.Rotate(r.Context(), body.NewToken); err != nil {
		refuseQuietly(w, r, "token", err)
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
