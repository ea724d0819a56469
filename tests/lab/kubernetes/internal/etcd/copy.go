package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"slicer-k3s.lab/kubernetes/internal/bootstrap"
)

// Copy is a copy of the datastore's files, read without etcd: the way to the bootstrap data before etcd is started.
type Copy struct {
	dir     string
	backend backend.Backend
	keys    mvcc.KV
}

var errNoIndex = errors.New("failed to read consistent index")

// OpenCopy copies the database in dbDir and opens the copy. What etcd never committed anything to cannot be read.
func OpenCopy(dbDir string) (*Copy, error) {
	c := &Copy{dir: filepath.Join(dbDir, "etcd-tmp")}
	path := filepath.Join(c.dir, "member", "snap", "db")
	if err := copyFile(filepath.Join(dbDir, "etcd", "member", "snap", "db"), path); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to stat MVCC KV store backend path: %w", err), os.RemoveAll(c.dir))
	}
	logrus.Infof("Opening etcd MVCC KV backend database at %s", path)
	if err := c.open(path); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	logrus.Info("Opened etcd MVCC KV store")
	return c, nil
}

// open turns the panics, by which etcd says that a database is broken, into errors.
func (c *Copy) open(path string) (failure error) {
	defer func() {
		if reason := recover(); reason != nil {
			failure = fmt.Errorf("panic: %v", reason)
		}
	}()
	logger := zap.NewNop().WithOptions(zap.WithPanicHook(zapcore.WriteThenPanic), zap.WithFatalHook(zapcore.WriteThenPanic))
	settings := backend.DefaultBackendConfig(logger)
	settings.Path, settings.UnsafeNoFsync, settings.BatchInterval = path, true, time.Hour
	c.backend = backend.New(settings)
	if index, _ := schema.ReadConsistentIndex(c.backend.ReadTx()); index == 0 {
		return errNoIndex
	}
	c.keys = mvcc.NewStore(logger, c.backend, &lease.FakeLessor{}, mvcc.StoreConfig{})
	return nil
}

// List returns every key below a prefix.
func (c *Copy) List(ctx context.Context, prefix string) ([]bootstrap.Entry, error) {
	found, err := c.keys.Range(ctx, []byte(prefix), []byte(prefix+"\xff"), mvcc.RangeOptions{})
	if err != nil {
		return nil, err
	}
	entries := []bootstrap.Entry{}
	for _, pair := range found.KVs {
		entries = append(entries, bootstrap.Entry{Key: string(pair.Key), Value: pair.Value, Revision: pair.ModRevision})
	}
	return entries, nil
}

// Close closes the copy and removes it.
func (c *Copy) Close() error {
	var keys, database error
	if c.keys != nil {
		keys = c.keys.Close()
	}
	if c.backend != nil {
		database = c.backend.Close()
	}
	return errors.Join(keys, database, os.RemoveAll(c.dir))
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
