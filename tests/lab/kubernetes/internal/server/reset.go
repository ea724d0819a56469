package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/bootstrap"
	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
	"slicer-k3s.lab/kubernetes/internal/process"
)

var errReset = errors.New("Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes") //nolint:staticcheck // the original's words

// Reset makes this server the only member of its etcd cluster, with its own data or a snapshot's, for when the others
// are lost. It never goes on to run; its good end is a request to shut down.
func Reset(ctx context.Context, s *config.Server) (func(), error) {
	stop := func() {}
	snapshot := s.Text("cluster-reset-restore-path", "")
	if snapshot != "" && s.Token == "" {
		if _, err := os.Stat(s.ServerDir("token")); os.IsNotExist(err) {
			return stop, errors.New(s.ServerDir("token") + " does not exist, please pass --token to complete the restoration")
		}
	}
	users, err := generate(s)
	if err != nil {
		return stop, fmt.Errorf("preparing server: failed to generate server dependencies: %w", err)
	}
	_, member, err := listen(ctx, s, users, "")
	if err != nil {
		return stop, fmt.Errorf("preparing server: failed to start supervisor listener: %w", err)
	}
	if err := member.Reset(snapshot); err != nil {
		return stop, fmt.Errorf("starting kubernetes: failed to start cluster: start managed database: %w", err)
	}
	if err := member.WaitReset(ctx); err != nil {
		return member.Stop, err
	}
	if err := takeOver(ctx, s, member); err != nil {
		return member.Stop, &process.Fatal{Text: err.Error()}
	}
	return member.Stop, &process.Shutdown{Cause: errReset}
}

// takeOver puts the bootstrap data of the datastore on the disk, whichever is newer; the certificates of before are kept.
func takeOver(ctx context.Context, s *config.Server, member *etcd.Member) error {
	password, err := currentPassword(s)
	if err != nil {
		return err
	}
	data, err := bootstrap.Load(ctx, member.Store(), password)
	if errors.Is(err, bootstrap.ErrNoData) {
		return save(ctx, s, member, password, false)
	} else if err != nil {
		return err
	}
	kept := fmt.Sprintf("%s-%d", s.ServerDir("tls"), time.Now().Unix())
	logrus.Infof("Cluster reset: backing up certificates directory to %s", kept)
	if err := copyTree(s.ServerDir("tls"), kept); err != nil {
		return fmt.Errorf("cluster reset failed to back up server TLS dir: %w", err)
	}
	logrus.Warn("Updating bootstrap data on disk from datastore")
	if err := disk(s).Write(data); err != nil {
		return err
	}
	_, err = generate(s)
	return err
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	})
}
