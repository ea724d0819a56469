// Package etcd runs this server's member of the cluster's datastore and looks after the others while it leads.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"slicer-k3s.lab/kubernetes/internal/files"
	"slicer-k3s.lab/kubernetes/internal/token"
)

const (
	clientPort  = "2379"
	peerPort    = "2380"
	metricsURL  = "http://127.0.0.1:2381"
	loopback    = "127.0.0.1"
	heartbeat   = 500  // milliseconds
	election    = 5000 // milliseconds
	testEvery   = 5 * time.Second
	statusLimit = 2 * time.Second
)

// Member is this server's etcd.
type Member struct {
	Dir      string // …/server/db
	TLS      string // …/server/tls/etcd
	NodeName string
	IP       net.IP
	Name     string

	server   *embed.Etcd
	client   *clientv3.Client
	stopping atomic.Bool
	closing  sync.Once
	saving   sync.Mutex
}

// Open finds out under which name this server is (or will be) a member.
func Open(dbDir, tlsDir, nodeName string, ip net.IP) (*Member, error) {
	m := &Member{Dir: dbDir, TLS: filepath.Join(tlsDir, "etcd"), NodeName: nodeName, IP: ip}
	name, err := files.ReadOr(m.path("name"), 0o600, m.fresh)
	if err != nil {
		return nil, err
	}
	m.Name = strings.TrimSpace(string(name))
	m.client, err = m.Client(loopbackURL)
	return m, err
}

const loopbackURL = "https://" + loopback + ":" + clientPort

// fresh makes a name for a new member.
func (m *Member) fresh() ([]byte, error) {
	suffix, err := token.Random(4)
	return []byte(m.NodeName + "-" + suffix), err
}

// Rename makes this server a new member of whatever it becomes a member of next.
func (m *Member) Rename() error {
	name, err := m.fresh()
	if err != nil {
		return err
	}
	m.Name = string(name)
	return files.Write(m.path("name"), name, 0o600)
}

func (m *Member) path(elements ...string) string {
	return filepath.Join(append([]string{m.Dir, "etcd"}, elements...)...)
}

// Initialized says whether this server holds data already; `cluster-init` and `server` then found and join nothing.
func Initialized(dbDir string) bool {
	info, err := os.Stat(filepath.Join(dbDir, "etcd", "member", "wal"))
	return err == nil && info.IsDir()
}

// PeerURL is where the other members reach this one.
func (m *Member) PeerURL() string { return "https://" + net.JoinHostPort(m.IP.String(), peerPort) }

// ClientURL is where clients on other machines reach this member.
func (m *Member) ClientURL() string { return "https://" + net.JoinHostPort(m.IP.String(), clientPort) }

// Start runs the member; initialCluster is empty for a new cluster and for a restart.
func (m *Member) Start(initialCluster string) error { return m.start(initialCluster, false) }

// start runs the member. While a cluster is reset, it listens on loopback only.
func (m *Member) start(initialCluster string, reset bool) error {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = m.path(), m.Name
	cfg.LogLevel, cfg.LogOutputs = "info", []string{"stderr"}
	cfg.TickMs, cfg.ElectionMs = heartbeat, election
	cfg.SnapshotCount = 10000
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	cfg.ForceNewCluster = reset
	listenPeers, listenClients, advertise := []string{"https://" + loopback + ":" + peerPort}, []string{loopbackURL}, loopbackURL
	if !reset {
		listenPeers, listenClients, advertise = append(listenPeers, m.PeerURL()), append(listenClients, m.ClientURL()), m.ClientURL()
	}
	var failures [5]error
	cfg.ListenPeerUrls, failures[0] = urls(listenPeers...)
	cfg.AdvertisePeerUrls, failures[1] = urls(m.PeerURL())
	cfg.ListenClientUrls, failures[2] = urls(listenClients...)
	cfg.AdvertiseClientUrls, failures[3] = urls(advertise)
	cfg.ListenMetricsUrls, failures[4] = urls(metricsURL)
	if err := errors.Join(failures[:]...); err != nil {
		return err
	}
	cfg.ClientTLSInfo = m.tlsInfo("server-client", "server-ca")
	cfg.PeerTLSInfo = m.tlsInfo("peer-server-client", "peer-ca")
	cfg.InitialCluster, cfg.ClusterState = m.Name+"="+m.PeerURL(), embed.ClusterStateFlagNew
	if initialCluster != "" {
		cfg.InitialCluster, cfg.ClusterState = initialCluster, embed.ClusterStateFlagExisting
	}
	if err := os.MkdirAll(m.path(), 0o700); err != nil {
		return err
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	m.server = server
	go m.watch(server)
	return nil
}

func (m *Member) tlsInfo(leaf, authority string) transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: filepath.Join(m.TLS, leaf+".crt"), KeyFile: filepath.Join(m.TLS, leaf+".key"),
		TrustedCAFile: filepath.Join(m.TLS, authority+".crt"), ClientCertAuth: true,
	}
}

// Client connects to the given client URLs with this server's client certificate.
func (m *Member) Client(endpoints ...string) (*clientv3.Client, error) {
	info := transport.TLSInfo{
		CertFile: filepath.Join(m.TLS, "client.crt"), KeyFile: filepath.Join(m.TLS, "client.key"),
		TrustedCAFile: filepath.Join(m.TLS, "server-ca.crt"),
	}
	tls, err := info.ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Logger: zap.NewNop(), Endpoints: endpoints, TLS: tls, DialTimeout: statusLimit,
		DialKeepAliveTime: 30 * time.Second, DialKeepAliveTimeout: 10 * time.Second,
	})
}

// WaitVoter returns once this member has a vote and answers. One that never will waits for ever.
func (m *Member) WaitVoter(ctx context.Context) error {
	ticker := time.NewTicker(testEvery)
	defer ticker.Stop()
	for {
		err := m.Test(ctx)
		if err == nil {
			logrus.Info("Connection to etcd is ready")
			return nil
		}
		logrus.Infof("Failed to test etcd connection: %v", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Test says what keeps this member from serving.
func (m *Member) Test(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := m.client.Status(limited, loopbackURL)
	switch {
	case err != nil:
		return fmt.Errorf("failed to get etcd status: %w", err)
	case status.IsLearner:
		return errors.New("this server has not yet been promoted from learner to voting member")
	case status.Leader == 0:
		return errors.New("etcdserver: no leader")
	}
	members, err := m.client.MemberList(limited)
	if err != nil {
		return err
	}
	found := []string{}
	for _, member := range members.Members {
		for _, peer := range member.PeerURLs {
			if peer == m.PeerURL() && member.Name == m.Name {
				return nil
			}
		}
		if len(member.PeerURLs) > 0 {
			found = append(found, member.Name+"="+member.PeerURLs[0])
		}
	}
	return fmt.Errorf("this server is not a member of the etcd cluster. Found %v, expect: %s=%s", found, m.Name, m.PeerURL())
}

// Stop ends the member.
func (m *Member) Stop() {
	if m.server == nil {
		return
	}
	m.stopping.Store(true)
	done := make(chan struct{})
	go func() {
		m.close(m.server)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(testEvery):
	}
}

// close ends etcd, once: it does not bear a second time.
func (m *Member) close(server *embed.Etcd) { m.closing.Do(server.Close) }

func urls(texts ...string) ([]url.URL, error) {
	parsed := []url.URL{}
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, *u)
	}
	return parsed, nil
}
