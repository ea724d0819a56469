package passwd

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The file is written where a password changes, and only then: its time decides whether a server may start.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, step := range []struct {
		what, server string
		written      bool
	}{
		{"new", "one", true},
		{"the same", "one", false},
		{"the same in full form", "K10abc::server:one", false},
		{"none given", "", false},
		{"another", "two", true},
	} {
		users, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := users.Ensure(Server, GroupServer, step.server); err != nil {
			t.Fatal(err)
		}
		if err := users.Write(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info, err)
		}
		if written := !info.ModTime().Equal(long); written != step.written {
			t.Errorf("%s: written %v", step.what, written)
		}
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	users, err := Read(path)
	if err != nil || users.Users()[Server] != (Entry{Password: "two", Group: GroupServer}) {
		t.Errorf("%v, %v", users, err)
	}
}

// What the file becomes later does not change who was let in at the start.
func TestUsersIsACopy(t *testing.T) {
	users, err := Read(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Ensure(Node, GroupAgent, "first"); err != nil {
		t.Fatal(err)
	}
	before := users.Users()
	if err := users.Ensure(Node, GroupAgent, "second"); err != nil {
		t.Fatal(err)
	}
	if before[Node].Password != "first" {
		t.Errorf("%v", before)
	}
}
