package etcd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
)

// database makes what etcd leaves on the disk, committed up to an index, with one key.
func database(t *testing.T, index uint64) string {
	t.Helper()
	dbDir := t.TempDir()
	path := filepath.Join(dbDir, "etcd", "member", "snap", "db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	settings := backend.DefaultBackendConfig(zap.NewNop())
	settings.Path = path
	data := backend.New(settings)
	tx := data.BatchTx()
	tx.Lock()
	schema.UnsafeCreateMetaBucket(tx)
	if index > 0 {
		schema.UnsafeUpdateConsistentIndexForce(tx, index, 1)
	}
	tx.Unlock()
	keys := mvcc.NewStore(zap.NewNop(), data, &lease.FakeLessor{}, mvcc.StoreConfig{})
	keys.Put([]byte("/bootstrap/abc"), []byte("sealed"), lease.NoLease)
	if err := errors.Join(keys.Close(), data.Close()); err != nil {
		t.Fatal(err)
	}
	return dbDir
}

// The datastore is read without etcd, from a copy of which nothing is left.
func TestCopy(t *testing.T) {
	dbDir := database(t, 7)
	store, err := OpenCopy(dbDir)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := store.List(context.Background(), "/bootstrap")
	if err != nil || len(entries) != 1 || string(entries[0].Value) != "sealed" {
		t.Errorf("%v, %v", entries, err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dbDir, "etcd-tmp")); !os.IsNotExist(err) {
		t.Errorf("the copy is still there: %v", err)
	}
}

// A first start that was cut short leaves data that say nothing, in one of two stages.
func TestCopyOfAStartCutShort(t *testing.T) {
	if _, err := OpenCopy(database(t, 0)); !errors.Is(err, errNoIndex) {
		t.Errorf("%v", err)
	}
	if _, err := OpenCopy(t.TempDir()); err == nil || !strings.Contains(err.Error(), "failed to stat MVCC KV store backend path") {
		t.Errorf("%v", err)
	}
}

// The data of a removed member makes room, but only where there is a cluster to go back to.
func TestSetAside(t *testing.T) {
	dbDir := t.TempDir()
	data := filepath.Join(dbDir, "etcd")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SetAside(dbDir, ""); err != nil {
		t.Errorf("a member: %v", err)
	}
	if err := os.WriteFile(tombstone(dbDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SetAside(dbDir, ""); !errors.Is(err, errTombstone) {
		t.Errorf("nowhere to go: %v", err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Errorf("nowhere to go, and the data are gone: %v", err)
	}
	if err := SetAside(dbDir, "https://other:6443"); err != nil {
		t.Error(err)
	}
	kept, err := filepath.Glob(data + "-backup-*")
	if _, gone := os.Stat(data); err != nil || len(kept) != 1 || !os.IsNotExist(gone) {
		t.Errorf("kept %v, data: %v", kept, gone)
	}
}

func member(name, ip string, learner bool) *etcdserverpb.Member {
	return &etcdserverpb.Member{Name: name, IsLearner: learner, PeerURLs: []string{"https://" + ip + ":2380"}, ClientURLs: []string{"https://" + ip + ":2379"}}
}

// What a joining server makes of the member list.
func TestInitial(t *testing.T) {
	for _, test := range []struct {
		what    string
		members []*etcdserverpb.Member
		want    string
		member  bool
		err     error
	}{
		{"new", []*etcdserverpb.Member{member("a-1", "10.0.0.1", false)}, "a-1=https://10.0.0.1:2380", false, nil},
		{"added, never started", []*etcdserverpb.Member{member("a-1", "10.0.0.1", false), member("", "10.0.0.2", true)}, "a-1=https://10.0.0.1:2380,bb-2=https://10.0.0.2:2380", true, nil},
		{"a member", []*etcdserverpb.Member{member("a-1", "10.0.0.1", false), member("bb-2", "10.0.0.2", true)}, "a-1=https://10.0.0.1:2380,bb-2=https://10.0.0.2:2380", true, nil},
		{"its name with other data", []*etcdserverpb.Member{member("a-1", "10.0.0.1", false), member("bb-9", "10.0.0.2", false)}, "", false, errDuplicate},
		{"its name elsewhere", []*etcdserverpb.Member{member("bb-9", "10.0.0.1", false)}, "", false, errDuplicate},
	} {
		m := &Member{Dir: t.TempDir(), NodeName: "bb", Name: "bb-2", IP: net.ParseIP("10.0.0.2")}
		if err := m.Rename(); err != nil {
			t.Fatal(err)
		}
		m.Name = "bb-2"
		initial, there, err := m.initial(Members{Members: test.members})
		if strings.Join(initial, ",") != test.want || there != test.member || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v, %v", test.what, initial, there, err)
		}
		// The next start takes another name.
		if _, err := os.Stat(m.path("name")); os.IsNotExist(err) != (test.err != nil) {
			t.Errorf("%s: the name's file: %v", test.what, err)
		}
	}
}

// Learners and this server itself answer nothing; the server that is joined is asked first.
func TestEndpoints(t *testing.T) {
	m := &Member{IP: net.ParseIP("10.0.0.9")}
	known := Members{Members: []*etcdserverpb.Member{
		member("a-1", "10.0.0.1", false), member("b-1", "10.0.0.2", true), member("c-1", "10.0.0.3", false), member("me-1", "10.0.0.9", false),
	}}
	if got := strings.Join(m.endpoints(known, "10.0.0.3"), " "); got != "https://10.0.0.3:2379 https://10.0.0.1:2379" {
		t.Error(got)
	}
}

func TestResetTwice(t *testing.T) {
	m := &Member{Dir: t.TempDir(), NodeName: "a", IP: net.ParseIP("10.0.0.1")}
	if err := os.WriteFile(resetFlag(m.Dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Reset(""); err == nil || !strings.Contains(err.Error(), "was previously reset") {
		t.Errorf("%v", err)
	}
	if err := ClearReset(m.Dir); err != nil || WasReset(m.Dir) {
		t.Errorf("%v", err)
	}
	if err := m.Reset(filepath.Join(m.Dir, "none")); err == nil || !strings.Contains(err.Error(), "snapshot path does not exist") {
		t.Errorf("%v", err)
	}
}

// Only a few earlier copies are kept.
func TestSetAsideKeepsFew(t *testing.T) {
	dbDir := t.TempDir()
	for _, name := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		if err := os.MkdirAll(filepath.Join(dbDir, "etcd-backup-100000000"+name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dbDir, "etcd"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tombstone(dbDir), []byte(time.Now().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SetAside(dbDir, "https://other:6443"); err != nil {
		t.Fatal(err)
	}
	if kept, _ := filepath.Glob(filepath.Join(dbDir, "etcd-backup-*")); len(kept) != keptCopies+1 {
		t.Errorf("%v", kept)
	}
}

// The leader asks only its own etcd: what has started makes progress and is healthy, whether it lives or not.
func TestLeaderAsksOnlyItself(t *testing.T) {
	start := time.Unix(1000, 0)
	later := start.Add(6 * time.Minute)
	status := func(applied uint64, alarms ...string) *clientv3.StatusResponse {
		return &clientv3.StatusResponse{RaftAppliedIndex: applied, Errors: alarms}
	}
	dead := &etcdserverpb.Member{Name: "b", IsLearner: true, ClientURLs: []string{"https://192.0.2.1:2379"}}
	unstarted := &etcdserverpb.Member{IsLearner: true}
	first := progress{applied: 7, since: start}
	if got := first.after(dead, status(8), later); got != (progress{applied: 8, since: later}) {
		t.Errorf("a started learner: %+v", got)
	}
	for what, got := range map[string]progress{
		"never started":    first.after(unstarted, status(8), later),
		"an idle leader":   first.after(dead, status(7), later),
		"a leader in need": first.after(dead, status(8, "NOSPACE"), later),
	} {
		if got != first {
			t.Errorf("%s: %+v", what, got)
		}
	}
	voter := &etcdserverpb.Member{Name: "c", ClientURLs: dead.ClientURLs}
	for _, c := range []struct {
		member *etcdserverpb.Member
		status *clientv3.StatusResponse
		voter  bool
		reason string
	}{
		{voter, status(8), true, "MemberNotLearner"},
		{dead, status(8), false, "MemberIsLearner"},
		{unstarted, status(8), false, "Unhealthy"},
		{voter, status(8, "NOSPACE"), false, "Unhealthy"},
	} {
		if got := examine(c.member, c.status); got.Voter != c.voter || got.Reason != c.reason {
			t.Errorf("%s: %+v", c.reason, got)
		}
	}
}

// The second of two snapshots at once is refused, not queued.
func TestOneSnapshotAtOnce(t *testing.T) {
	member := &Member{}
	member.saving.Lock()
	if _, err := member.Save(context.Background(), t.TempDir(), "a"); !errors.Is(err, errSaving) {
		t.Error(err)
	}
}
