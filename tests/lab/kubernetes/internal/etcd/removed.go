package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	removeLimit = time.Minute
	keptCopies  = 5
)

// errTombstone is the end of a removed member that has no cluster to go back to.
var errTombstone = errors.New("tombstone file has been detected but --server is empty: backup and delete ${datadir}/server/db to create a new cluster, or set --server to rejoin the cluster")

func tombstone(dbDir string) string { return filepath.Join(dbDir, "etcd", "tombstone") }

// watch marks the data of a member that was removed from its cluster: nothing else stops etcd by itself. The process goes
// on without it.
func (m *Member) watch(server *embed.Etcd) {
	failures := server.Err()
	for stopped := false; !stopped; {
		select {
		case err, open := <-failures:
			if !open {
				failures = nil
			} else if !m.stopping.Load() {
				logrus.Errorf("etcd exited: %v", err)
			}
		case <-server.Server.StopNotify():
			stopped = true
		}
	}
	if m.stopping.Load() {
		logrus.Info("etcd server stopped")
		return
	}
	if err := os.WriteFile(tombstone(m.Dir), nil, 0o600); err != nil {
		logrus.Fatalf("Failed to write tombstone file to %s: %v", tombstone(m.Dir), err)
	}
	m.close(server)
	logrus.Info("This node has been removed from the cluster - please restart k3s to rejoin the cluster")
}

// SetAside makes room for a new member where this server's was removed; without a cluster to join that is an error.
func SetAside(dbDir, server string) error {
	if _, err := os.Stat(tombstone(dbDir)); err != nil {
		return nil
	}
	if server == "" {
		return errTombstone
	}
	logrus.Info("tombstone file has been detected, removing ${datadir}/server/db to rejoin the cluster")
	data := filepath.Join(dbDir, "etcd")
	earlier, err := filepath.Glob(data + "-backup-*")
	if err != nil {
		return err
	}
	slices.Sort(earlier)
	for len(earlier) > keptCopies {
		if err := os.RemoveAll(earlier[0]); err != nil {
			return err
		}
		earlier = earlier[1:]
	}
	return os.Rename(data, fmt.Sprintf("%s-backup-%d", data, time.Now().Unix()))
}

// Remove takes a member out of the cluster; it must have both this name and this address. A leader hands over first.
func (m *Member) Remove(ctx context.Context, name, address string) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	list, err := m.client.MemberList(ctx)
	if err != nil {
		return err
	}
	for _, member := range list.Members {
		if member.Name != name || !slices.ContainsFunc(member.PeerURLs, func(peer string) bool { return hostname(peer) == address }) {
			continue
		}
		if err := m.handOver(ctx, member, list.Members); err != nil {
			return err
		}
		logrus.Infof("Removing name=%s id=%d address=%s from etcd", member.Name, member.ID, address)
		_, err := m.client.MemberRemove(ctx, member.ID)
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil
		}
		return err
	}
	return nil
}

// handOver moves the leadership away from a member that leads.
func (m *Member) handOver(ctx context.Context, from *etcdserverpb.Member, members []*etcdserverpb.Member) error {
	status, err := m.client.Status(ctx, loopbackURL)
	if err != nil || status.Leader != from.ID {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(members), func(other *etcdserverpb.Member) bool { return other.IsLearner || other.Name == from.Name })
	if len(others) == 0 {
		return rpctypes.ErrMemberNotEnoughStarted
	}
	client, err := m.Client(from.ClientURLs...)
	if err != nil {
		return err
	}
	defer client.Close()
	logrus.Infof("Moving etcd cluster leader from %s to %s", from.Name, others[0].Name)
	_, err = client.MoveLeader(ctx, others[0].ID)
	return err
}

func hostname(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// self says whether one of the URLs is this machine's.
func (m *Member) self(addresses []string) bool {
	return slices.ContainsFunc(addresses, func(address string) bool { return net.ParseIP(hostname(address)).Equal(m.IP) })
}
