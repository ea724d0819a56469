package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// memory is a datastore with revisions.
type memory struct {
	entries  map[string]Entry
	revision int64
}

func (m *memory) List(_ context.Context, prefix string) ([]Entry, error) {
	found := []Entry{}
	for key, entry := range m.entries {
		if strings.HasPrefix(key, prefix) {
			found = append(found, entry)
		}
	}
	return found, nil
}

func (m *memory) put(key string, value []byte) {
	m.revision++
	m.entries[key] = Entry{Key: key, Value: value, Revision: m.revision}
}

func (m *memory) Create(_ context.Context, key string, value []byte) error {
	if _, there := m.entries[key]; there {
		return ErrExists
	}
	m.put(key, value)
	return nil
}

func (m *memory) Update(_ context.Context, key string, revision int64, value []byte) error {
	if m.entries[key].Revision != revision {
		return fmt.Errorf("revision %d doesnt match", revision)
	}
	m.put(key, value)
	return nil
}

func (m *memory) Delete(_ context.Context, key string, revision int64) error {
	if m.entries[key].Revision != revision {
		return fmt.Errorf("revision %d doesnt match", revision)
	}
	delete(m.entries, key)
	return nil
}

func content(text string) Data { return Data{"PasswdFile": {Content: []byte(text)}} }

// Data is readable with the token it is sealed with, and with no other; after a rotation the old one is another.
func TestSealed(t *testing.T) {
	ctx, store := context.Background(), &memory{entries: map[string]Entry{}}
	load := func(password string) func() error {
		return func() error {
			_, err := Load(ctx, store, password)
			return err
		}
	}
	save := func(password, text string, override bool) func() error {
		return func() error { return Save(ctx, store, password, content(text), override) }
	}
	for _, step := range []struct {
		what string
		do   func() error
		want error
		text string // what is in the datastore afterwards
		by   string // and the password that opens it
	}{
		{"a first start that was cut short", load("old"), ErrNoData, "", ""},
		{"first start", save("old", "first", false), nil, "first", "old"},
		{"restart with other files", save("old", "second", false), nil, "first", "old"},
		{"overridden", save("old", "second", true), nil, "second", "old"},
		{"another token", save("new", "third", false), ErrOtherToken, "second", "old"},
		{"another token, overriding", save("new", "third", true), ErrOtherToken, "second", "old"},
		{"read with another token", load("new"), ErrOtherToken, "second", "old"},
		{"rotation to itself", func() error { return Rotate(ctx, store, "old", "old") }, nil, "second", "old"},
		{"rotation", func() error { return Rotate(ctx, store, "old", "new") }, nil, "second", "new"},
		{"read with the retired token", load("old"), ErrOtherToken, "second", "new"},
		{"restart with the retired token", save("old", "fourth", false), ErrOtherToken, "second", "new"},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
		if step.by == "" {
			continue
		}
		if data, err := Load(ctx, store, step.by); err != nil || string(data["PasswdFile"].Content) != step.text {
			t.Errorf("%s: holds %q, %v, want %q", step.what, data["PasswdFile"].Content, err, step.text)
		}
		if len(store.entries) != 1 {
			t.Errorf("%s: %d keys", step.what, len(store.entries))
		}
	}
}

func TestWrongPassword(t *testing.T) {
	sealed, err := Seal("right", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := Unseal("right", sealed); err != nil || string(opened) != "text" {
		t.Errorf("%q, %v", opened, err)
	}
	for _, broken := range [][]byte{sealed, sealed[:20], []byte("no colon"), nil} {
		if _, err := Unseal("wrong", broken); err == nil {
			t.Errorf("%q was opened", broken)
		}
	}
}

// Of two files that differ, the datastore's counts, unless the disk's is younger by three seconds.
func TestReconcile(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, test := range []struct {
		what  string
		disk  string // content, empty for none
		age   time.Duration
		want  string
		newer bool
	}{
		{"the same, and younger", "theirs", -time.Hour, "theirs", false},
		{"another, older", "ours", time.Hour, "theirs", false},
		{"another, hardly younger", "ours", -2 * time.Second, "theirs", false},
		{"another, younger", "ours", -3 * time.Second, "ours", true},
		{"missing", "", 0, "theirs", false},
	} {
		d := founded(t)
		path := filepath.Join(d.Dir, "cred", "passwd")
		if test.disk != "" {
			write(t, path, test.disk, now.Add(-test.age))
		}
		err := d.Reconcile(Data{"PasswdFile": {Timestamp: now, Content: []byte("theirs")}})
		var newer *NewerError
		if errors.As(err, &newer) != test.newer || err != nil && !test.newer {
			t.Errorf("%s: %v", test.what, err)
		}
		if test.newer && err.Error() != path+" newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore." {
			t.Errorf("%s: %v", test.what, err)
		}
		if got, _ := os.ReadFile(path); string(got) != test.want {
			t.Errorf("%s: the disk holds %q, want %q", test.what, got, test.want)
		}
		info, err := os.Stat(path)
		if err != nil || test.disk != test.want && !info.ModTime().Equal(now) {
			t.Errorf("%s: it has not the datastore's time: %v", test.what, info)
		}
	}
}

// A disk without certificates takes everything, whatever else lies on it.
func TestReconcileEmpty(t *testing.T) {
	d := Disk{Dir: t.TempDir()}
	write(t, filepath.Join(d.Dir, "cred", "passwd"), "ours", time.Now().Add(time.Hour))
	if err := d.Reconcile(Data{"PasswdFile": {Timestamp: time.Now(), Content: []byte("theirs")}}); err != nil {
		t.Fatal(err)
	}
	data, err := d.Read()
	if err != nil || string(data["PasswdFile"].Content) != "theirs" || len(data) != 1 {
		t.Errorf("%v, %v", data, err)
	}
}

func founded(t *testing.T) Disk {
	t.Helper()
	d := Disk{Dir: t.TempDir()}
	for _, path := range []string{"cred/ipsec.psk", "tls/server-ca.crt", "tls/etcd/peer-ca.crt"} {
		write(t, filepath.Join(d.Dir, path), "x", time.Now())
	}
	return d
}

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}
