package etcd

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Save writes a snapshot of the local member's data to path.
func Save(tlsDir, path string, limit time.Duration) error {
	client, err := Connect(tlsDir, "https://127.0.0.1:"+clientPort)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	content, err := client.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
