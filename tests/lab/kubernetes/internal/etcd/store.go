package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"slicer-k3s.lab/kubernetes/internal/bootstrap"
)

// Store is the running datastore behind this member.
func (m *Member) Store() bootstrap.Writer { return store{m.client} }

type store struct{ client *clientv3.Client }

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, testEvery)
}

func (s store) List(ctx context.Context, prefix string) ([]bootstrap.Entry, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	answer, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	entries := []bootstrap.Entry{}
	for _, pair := range answer.Kvs {
		entries = append(entries, bootstrap.Entry{Key: string(pair.Key), Value: pair.Value, Revision: pair.ModRevision})
	}
	return entries, nil
}

func (s store) Create(ctx context.Context, key string, value []byte) error {
	done, err := s.when(ctx, key, 0, clientv3.OpPut(key, string(value)))
	if err == nil && !done {
		return bootstrap.ErrExists
	}
	return err
}

func (s store) Update(ctx context.Context, key string, revision int64, value []byte) error {
	return matched(revision)(s.when(ctx, key, revision, clientv3.OpPut(key, string(value))))
}

func (s store) Delete(ctx context.Context, key string, revision int64) error {
	return matched(revision)(s.when(ctx, key, revision, clientv3.OpDelete(key)))
}

// when does something to a key that is still at a revision.
func (s store) when(ctx context.Context, key string, revision int64, do clientv3.Op) (bool, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	answer, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(do).Commit()
	if err != nil {
		return false, err
	}
	return answer.Succeeded, nil
}

func matched(revision int64) func(bool, error) error {
	return func(done bool, err error) error {
		if err == nil && !done {
			return fmt.Errorf("revision %d doesnt match", revision)
		}
		return err
	}
}
