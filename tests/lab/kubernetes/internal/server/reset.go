package server

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
)

// Reset makes this server the only member of its etcd cluster, for when the others are lost; it does not go on to run.
func Reset(ctx context.Context, s *config.Server) error {
	if s.Text("cluster-reset-restore-path", "") != "" {
		return errors.New("restoring a snapshot is beyond this stand-in: reset without --cluster-reset-restore-path")
	}
	if !etcd.Initialized(s.ServerDir("db")) {
		return errors.New("cluster-reset: this server has no etcd data")
	}
	member, err := etcd.Open(s.ServerDir("db"), s.ServerDir("tls"), s.Name, s.IP)
	if err != nil {
		return err
	}
	if err := member.Start(ctx, "", true); err != nil {
		return err
	}
	defer member.Stop()
	if err := member.WaitVoter(ctx); err != nil {
		return err
	}
	logrus.Info("Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes")
	return nil
}
