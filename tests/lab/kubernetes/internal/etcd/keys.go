package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// List returns every key below a prefix.
func (m *Member) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	limited, cancel := context.WithTimeout(ctx, testEvery)
	defer cancel()
	answer, err := m.client.Get(limited, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, pair := range answer.Kvs {
		found[string(pair.Key)] = pair.Value
	}
	return found, nil
}

// Replace puts one key and removes others, all or nothing.
func (m *Member) Replace(ctx context.Context, key string, value []byte, gone ...string) error {
	limited, cancel := context.WithTimeout(ctx, testEvery)
	defer cancel()
	operations := []clientv3.Op{clientv3.OpPut(key, string(value))}
	for _, name := range gone {
		if name != key {
			operations = append(operations, clientv3.OpDelete(name))
		}
	}
	_, err := m.client.Txn(limited).Then(operations...).Commit()
	return err
}
