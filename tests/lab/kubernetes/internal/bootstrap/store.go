package bootstrap

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sirupsen/logrus"
)

var (
	// ErrOtherToken is what a server with a retired or foreign token ends with.
	ErrOtherToken = errors.New("bootstrap data already found and encrypted with different token")
	// ErrNoData is what a server ends with whose first start was cut short.
	ErrNoData = errors.New("no bootstrap data found in datastore - check server token value and verify datastore integrity")
	// ErrExists is a Writer's answer to the creation of a key that is there.
	ErrExists = errors.New("key exists")
	errMany   = errors.New("found multiple bootstrap keys in storage")
	errNone   = errors.New("no bootstrap data found")
)

// Entry is one key of the datastore.
type Entry struct {
	Key      string
	Value    []byte
	Revision int64
}

// Reader is a datastore that can be read: a running etcd, or a copy of its files.
type Reader interface {
	List(ctx context.Context, prefix string) ([]Entry, error)
}

// Writer is a running etcd.
type Writer interface {
	Reader
	Create(ctx context.Context, key string, value []byte) error
	Update(ctx context.Context, key string, revision int64, value []byte) error
	Delete(ctx context.Context, key string, revision int64) error
}

// find returns the entry sealed with a password, nil where the datastore holds none at all.
func find(ctx context.Context, data Reader, password string) (*Entry, error) {
	entries, err := data.List(ctx, prefix)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	if len(entries) > 1 {
		logrus.Warn(errMany)
	}
	for _, entry := range entries {
		if entry.Key == Key(password) {
			return &entry, nil
		}
	}
	return nil, ErrOtherToken
}

// Load reads the data out of a datastore.
func Load(ctx context.Context, data Reader, password string) (Data, error) {
	entry, err := find(ctx, data, password)
	if err != nil {
		return nil, err
	}
	if entry == nil || len(entry.Value) == 0 {
		return nil, ErrNoData
	}
	content, err := Unseal(password, entry.Value)
	if err != nil {
		return nil, err
	}
	loaded := Data{}
	return loaded, json.Unmarshal(content, &loaded)
}

// Save seals the data and puts it into the datastore. What is there already is left alone unless it is to be overridden;
// what is sealed with another password refuses it.
func Save(ctx context.Context, data Writer, password string, content Data, override bool) error {
	logrus.Info("Saving cluster bootstrap data to datastore")
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	sealed, err := Seal(password, text)
	if err != nil {
		return err
	}
	entry, err := find(ctx, data, password)
	if err != nil {
		return err
	}
	if entry != nil && len(entry.Value) == 0 {
		logrus.Info("Bootstrap key lock is held")
		override = true
	}
	err = data.Create(ctx, Key(password), sealed)
	if !errors.Is(err, ErrExists) {
		return err
	}
	if !override {
		logrus.Warn("Bootstrap key already exists")
		return nil
	}
	only, err := only(ctx, data)
	if err != nil {
		return err
	}
	return data.Update(ctx, Key(password), only.Revision, sealed)
}

func only(ctx context.Context, data Reader) (Entry, error) {
	entries, err := data.List(ctx, prefix)
	switch {
	case err != nil:
		return Entry{}, err
	case len(entries) == 0:
		return Entry{}, errNone
	case len(entries) > 1:
		return Entry{}, errMany
	}
	return entries[0], nil
}

// Rotate seals the data in the datastore with another password; under the old one nothing is left.
func Rotate(ctx context.Context, data Writer, old, fresh string) error {
	entries, err := data.List(ctx, prefix)
	if err != nil || Key(old) == Key(fresh) {
		return err
	}
	for _, entry := range entries {
		if entry.Key != Key(old) {
			continue
		}
		content, err := Unseal(old, entry.Value)
		if err != nil {
			return err
		}
		sealed, err := Seal(fresh, content)
		if err != nil {
			return err
		}
		if err := data.Create(ctx, Key(fresh), sealed); errors.Is(err, ErrExists) {
			logrus.Warn("bootstrap key exists")
		} else if err != nil {
			return err
		}
		logrus.Infof("created bootstrap key %s", Key(fresh))
		if err := data.Delete(ctx, entry.Key, entry.Revision); err != nil {
			logrus.Warnf("failed to delete old bootstrap key %s", entry.Key)
		}
	}
	return nil
}
