// Package passwd is the file of the passwords that nodes join with: `password,user,user,group` lines.
package passwd

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slicer-k3s.lab/kubernetes/internal/token"
)

// The two users, and the groups that the supervisor knows them by.
const (
	Server      = "server"
	Node        = "node"
	GroupServer = "k3s:server"
	GroupAgent  = "k3s:agent"
)

// Entry is one user.
type Entry struct{ Password, Group string }

// Passwords is the file's content.
type Passwords struct {
	users   map[string]Entry
	changed bool
}

// Read reads the file; one that is not there is empty.
func Read(path string) (*Passwords, error) {
	p := &Passwords{users: map[string]Entry{}}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := csv.NewReader(file)
	lines.FieldsPerRecord = -1
	for {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		} else if err != nil {
			return nil, err
		}
		if len(record) < 2 {
			return nil, fmt.Errorf("password file '%s' must have at least 2 columns (password, name), found %d", path, len(record))
		}
		entry := Entry{Password: record[0]}
		if len(record) > 3 {
			entry.Group = record[3]
		}
		p.users[record[1]] = entry
	}
}

// Users are all entries by name: a copy that later changes of the file do not touch.
func (p *Passwords) Users() map[string]Entry {
	users := make(map[string]Entry, len(p.users))
	for name, entry := range p.users {
		users[name] = entry
	}
	return users
}

// Get returns a user's password, empty for one that is not there.
func (p *Passwords) Get(name string) string { return p.users[name].Password }

// Ensure gives a user this password, which may be a token in full form; an empty one keeps what is there or makes one.
func (p *Passwords) Ensure(name, group, password string) error {
	if _, rest, found := strings.Cut(password, "::"+name+":"); found && strings.HasPrefix(password, "K10") {
		password = rest
	}
	before, known := p.users[name]
	if password == "" {
		password = before.Password
	}
	if password == "" {
		var err error
		if password, err = token.Random(16); err != nil {
			return err
		}
	}
	after := Entry{Password: password, Group: group}
	p.changed = p.changed || !known || before != after
	p.users[name] = after
	return nil
}

// Write writes the file where anything was changed. The order of its lines is left to chance, as in the original: two
// servers that write the same passwords do not write the same bytes.
func (p *Passwords) Write(path string) error {
	if !p.changed {
		return nil
	}
	records := [][]string{}
	for name, entry := range p.users {
		records = append(records, []string{entry.Password, name, name, entry.Group})
	}
	temporary := path + ".tmp"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(csv.NewWriter(file).WriteAll(records), file.Close()); err != nil {
		return err
	}
	p.changed = false
	return os.Rename(temporary, path)
}
