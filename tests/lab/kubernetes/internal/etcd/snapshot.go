package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// errSaving is what another one meets while a snapshot is taken.
var errSaving = errors.New("snapshot save already in progress")

// Save takes a snapshot of this member's data into a directory and returns the new file's name.
func (m *Member) Save(ctx context.Context, dir, name string) (string, error) {
	if !m.saving.TryLock() {
		return "", errSaving
	}
	defer m.saving.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	content, err := m.client.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	defer content.Close()
	file, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	if _, err := io.Copy(file, content); err != nil {
		return "", err
	}
	if err := file.Sync(); err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	snapshot := fmt.Sprintf("%s-%s-%d", name, m.NodeName, time.Now().Unix())
	return snapshot, os.Rename(file.Name(), filepath.Join(dir, snapshot))
}
