package server

import (
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/etcd"
)

// isSQLite says whether the original would keep its cluster in SQLite: etcd was never started here, and nothing asks for it.
func isSQLite(s *config.Server) bool {
	asked := s.Bool("cluster-init") || s.Bool("cluster-reset") || s.URL != ""
	return !asked && !etcd.Initialized(s.ServerDir("db"))
}

// datastore is the directory of etcd's data. Where the original would have SQLite it is out of sight, for there is nothing
// else that could hold a cluster here.
func datastore(s *config.Server) string {
	if isSQLite(s) {
		return s.ServerDir("db", "in-place-of-sqlite")
	}
	return s.ServerDir("db")
}

// prepareDatastore leaves SQLite's file where the original has it. A new etcd takes its content over, unless it joins one.
func prepareDatastore(s *config.Server) error {
	file := s.ServerDir("db", "state.db")
	if isSQLite(s) {
		if err := os.MkdirAll(datastore(s), 0o700); err != nil {
			return err
		}
		return os.WriteFile(file, []byte("SQLite format 3\x00"), 0o600)
	}
	_, err := os.Stat(file)
	if err != nil || s.URL != "" || s.Bool("cluster-reset") || etcd.Initialized(s.ServerDir("db")) {
		return nil //nolint:nilerr // without the file there is nothing to take over
	}
	logrus.Info("Migrating content from sqlite to etcd")
	hidden := filepath.Join(s.ServerDir("db", "in-place-of-sqlite"), "etcd")
	if err := os.RemoveAll(s.ServerDir("db", "etcd")); err != nil {
		return err
	}
	if err := os.Rename(hidden, s.ServerDir("db", "etcd")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Rename(file, file+".migrated")
}
