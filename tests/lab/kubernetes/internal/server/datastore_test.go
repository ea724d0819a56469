package server

import (
	"os"
	"path/filepath"
	"testing"

	"slicer-k3s.lab/kubernetes/internal/config"
)

func underTest(t *testing.T, values config.Values) *config.Server {
	t.Helper()
	return &config.Server{Node: &config.Node{Values: values, DataDir: t.TempDir()}}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	return err == nil
}

// What a start without cluster-init and server leaves, and what a later one with cluster-init makes of it.
func TestSQLite(t *testing.T) {
	s := underTest(t, config.Values{})
	if err := prepareDatastore(s); err != nil {
		t.Fatal(err)
	}
	if !isSQLite(s) || datastore(s) == s.ServerDir("db") || !exists(t, s.ServerDir("db", "state.db")) {
		t.Error("no SQLite")
	}
	if err := os.MkdirAll(filepath.Join(datastore(s), "etcd", "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !isSQLite(s) || exists(t, s.ServerDir("db", "etcd")) {
		t.Error("no SQLite at the second start")
	}
	s.URL, s.Token = "https://192.0.2.1:6443", "token"
	if err := prepareDatastore(s); err != nil || isSQLite(s) || !exists(t, s.ServerDir("db", "state.db")) {
		t.Errorf("one that joins takes nothing over: %v", err)
	}
	s.URL, s.Values = "", config.Values{"cluster-init": {"true"}}
	if err := prepareDatastore(s); err != nil {
		t.Fatal(err)
	}
	if !exists(t, s.ServerDir("db", "etcd", "member", "wal")) || !exists(t, s.ServerDir("db", "state.db.migrated")) || exists(t, s.ServerDir("db", "state.db")) {
		t.Error("not migrated")
	}
	// From here on it needs no word.
	s.Values = config.Values{}
	if isSQLite(s) || datastore(s) != s.ServerDir("db") {
		t.Error("SQLite again")
	}
}

// Neither what founds nor what joins nor what is reset leaves anything of SQLite.
func TestEtcdIsAskedFor(t *testing.T) {
	for name, values := range map[string]config.Values{"founds": {"cluster-init": {"true"}}, "joins": nil, "is reset": {"cluster-reset": {"true"}}} {
		s := underTest(t, values)
		if name == "joins" {
			s.URL, s.Token = "https://192.0.2.1:6443", "token"
		}
		if err := prepareDatastore(s); err != nil || isSQLite(s) || exists(t, s.ServerDir("db", "state.db")) {
			t.Errorf("one that %s: SQLite (%v)", name, err)
		}
	}
}
