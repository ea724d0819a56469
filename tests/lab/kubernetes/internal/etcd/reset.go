package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

func resetFlag(dbDir string) string { return filepath.Join(dbDir, "reset-flag") }

// WasReset says whether the last start that got that far was a reset of the cluster.
func WasReset(dbDir string) bool {
	_, err := os.Stat(resetFlag(dbDir))
	return err == nil
}

// ClearReset forgets that there was a reset.
func ClearReset(dbDir string) error {
	if err := os.Remove(resetFlag(dbDir)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Reset starts this server as the only member of a cluster with its data, or with a snapshot's; from then on it is
// another member than before.
func (m *Member) Reset(from string) error {
	if from == "" && WasReset(m.Dir) {
		return fmt.Errorf("Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and start k3s normally. "+
			"If you need to perform another cluster reset, you must first manually delete the file at %s", resetFlag(m.Dir)) //nolint:staticcheck // the original's words
	}
	if from != "" {
		if err := m.restore(from); err != nil {
			return err
		}
	}
	if err := m.Rename(); err != nil {
		return err
	}
	if err := os.WriteFile(resetFlag(m.Dir), nil, 0o600); err != nil {
		return err
	}
	logrus.Info("Starting etcd for new cluster, cluster-reset=true")
	return m.start("", true)
}

// restore puts a snapshot in the place of the data, which is kept.
func (m *Member) restore(path string) error {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return fmt.Errorf("etcd: snapshot path does not exist: %s", path)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("etcd: snapshot path must be a file, not a directory: %s", path)
	}
	old := fmt.Sprintf("%s-old-%d", m.path(), time.Now().Unix())
	if err := os.Rename(m.path(), old); err != nil {
		return err
	}
	logrus.Infof("Pre-restore etcd database moved to %s", old)
	return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: m.Name, OutputDataDir: m.path(), OutputWALDir: m.path("member", "wal"),
		PeerURLs: []string{m.PeerURL()}, InitialCluster: m.Name + "=" + m.PeerURL(),
	})
}

// WaitReset returns once this server is the only member; one under an earlier address is moved to the present one.
func (m *Member) WaitReset(ctx context.Context) error {
	ticker := time.NewTicker(testEvery)
	defer ticker.Stop()
	for {
		err := m.alone(ctx)
		if err == nil {
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

func (m *Member) alone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, testEvery)
	defer cancel()
	failure := m.Test(ctx)
	list, err := m.client.MemberList(ctx)
	switch {
	case err != nil:
		return errors.Join(failure, err)
	case len(list.Members) != 1:
		return errors.New("etcd still has more than one member")
	case failure == nil:
		return nil
	}
	_, err = m.client.MemberUpdate(ctx, list.Members[0].ID, []string{m.PeerURL()})
	return errors.Join(failure, err)
}
