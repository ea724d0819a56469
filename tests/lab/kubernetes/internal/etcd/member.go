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

	server *embed.Etcd
	client *clientv3.Client
}

// Open finds out under which name this server is (or will be) a member.
func Open(dbDir, tlsDir, nodeName string, ip net.IP) (*Member, error) {
	m := &Member{Dir: dbDir, TLS: filepath.Join(tlsDir, "etcd"), NodeName: nodeName, IP: ip}
	name, err := files.ReadOr(m.path("name"), 0o600, func() ([]byte, error) {
		suffix, err := token.Random(4)
		return []byte(nodeName + "-" + suffix), err
	})
	m.Name = strings.TrimSpace(string(name))
	return m, err
}

func (m *Member) path(elements ...string) string {
	return filepath.Join(append([]string{m.Dir, "etcd"}, elements...)...)
}

// Initialized says whether this server holds data already; `cluster-init` and `server` are then ignored.
func Initialized(dbDir string) bool {
	_, err := os.Stat(filepath.Join(dbDir, "etcd", "member", "wal"))
	return err == nil
}

// PeerURL is where the other members reach this one.
func (m *Member) PeerURL() string { return "https://" + net.JoinHostPort(m.IP.String(), peerPort) }

// ClientURL is where clients on other machines reach this member.
func (m *Member) ClientURL() string { return "https://" + net.JoinHostPort(m.IP.String(), clientPort) }

// Start runs the member; initialCluster is empty for a new cluster and for a restart.
func (m *Member) Start(ctx context.Context, initialCluster string, forceNew bool) error {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = m.path(), m.Name
	cfg.LogLevel, cfg.LogOutputs = "warn", []string{"stderr"}
	cfg.TickMs, cfg.ElectionMs = heartbeat, election
	cfg.SnapshotCount = 10000
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	cfg.ForceNewCluster = forceNew
	loopback := "https://" + net.JoinHostPort("127.0.0.1", clientPort)
	peers, err := urls(m.PeerURL())
	if err != nil {
		return err
	}
	clients, err := urls(m.ClientURL())
	if err != nil {
		return err
	}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = peers, peers, clients
	if cfg.ListenClientUrls, err = urls(loopback, m.ClientURL()); err != nil {
		return err
	}
	if cfg.ListenMetricsUrls, err = urls(metricsURL); err != nil {
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
	if m.server, err = embed.StartEtcd(cfg); err != nil {
		return err
	}
	m.client, err = m.Client(loopback)
	return err
}

func (m *Member) tlsInfo(leaf, authority string) transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: filepath.Join(m.TLS, leaf+".crt"), KeyFile: filepath.Join(m.TLS, leaf+".key"),
		TrustedCAFile: filepath.Join(m.TLS, authority+".crt"), ClientCertAuth: true,
	}
}

// Client connects to the given client URLs with this server's client certificate.
func (m *Member) Client(endpoints ...string) (*clientv3.Client, error) {
	return Connect(m.TLS, endpoints...)
}

// Connect makes an etcd client from the certificates in the tls/etcd directory.
func Connect(tlsDir string, endpoints ...string) (*clientv3.Client, error) {
	info := transport.TLSInfo{
		CertFile: filepath.Join(tlsDir, "client.crt"), KeyFile: filepath.Join(tlsDir, "client.key"),
		TrustedCAFile: filepath.Join(tlsDir, "server-ca.crt"),
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

// WaitVoter returns once this member has a vote and answers.
func (m *Member) WaitVoter(ctx context.Context) error {
	ticker := time.NewTicker(testEvery)
	defer ticker.Stop()
	for {
		err := m.Test(ctx)
		if err == nil {
			return nil
		}
		logrus.Infof("Failed to test etcd connection: %v", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-m.server.Err():
			return fmt.Errorf("etcd exited: %w", err)
		case <-m.server.Server.StopNotify():
			return m.Gone()
		case <-ticker.C:
		}
	}
}

// Test says what keeps this member from serving.
func (m *Member) Test(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := m.client.Status(limited, m.client.Endpoints()[0])
	switch {
	case err != nil:
		return fmt.Errorf("failed to get etcd status: %w", err)
	case status.IsLearner:
		return errors.New("this server has not yet been promoted from learner to voting member")
	case status.Leader == 0:
		return errors.New("etcd cluster has no leader")
	}
	members, err := m.client.MemberList(limited)
	if err != nil {
		return err
	}
	found := []string{}
	for _, member := range members.Members {
		for _, peer := range member.PeerURLs {
			if peer == m.PeerURL() {
				return nil
			}
			found = append(found, member.Name+"="+peer)
		}
	}
	return fmt.Errorf("this server is a not a member of the etcd cluster. Found %v, expect: %s=%s", found, m.Name, m.PeerURL())
}

// Ended is closed when the member stops by itself.
func (m *Member) Ended() <-chan struct{} { return m.server.Server.StopNotify() }

// Stop ends the member.
func (m *Member) Stop() {
	if m.server == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		m.server.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(testEvery):
	}
}

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
