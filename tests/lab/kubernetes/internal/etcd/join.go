package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	addLimit   = 20 * time.Second
	retryEvery = time.Second
)

var errDuplicate = errors.New("duplicate node name found, please use a unique name for this node")

// Members is what /db/info answers.
type Members struct {
	Members []*etcdserverpb.Member `json:"members"`
}

// Join adds this server as a learner to the cluster that info describes, and starts it. While another learner is
// being added it waits, as only one can be at a time.
func (m *Member) Join(ctx context.Context, info func(context.Context) (Members, error)) error {
	for {
		cluster, err := m.add(ctx, info)
		if err == nil {
			return m.Start(ctx, cluster, false)
		}
		if errors.Is(err, errDuplicate) {
			_ = os.Remove(m.path("name"))
			return fmt.Errorf("etcd cluster join failed: %w", err)
		}
		if !passing(err) {
			return fmt.Errorf("etcd cluster join failed: %w", err)
		}
		logrus.Infof("Waiting for other members to finish joining etcd cluster: %v", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

var errMemberList = errors.New("failed to list etcd members")

// passing says whether the reason goes away by itself.
func passing(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyLearners) || errors.Is(err, rpctypes.ErrGRPCTooManyLearners) ||
		errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, rpctypes.ErrGRPCUnhealthy) || errors.Is(err, errMemberList)
}

// add returns the initial cluster to start with.
func (m *Member) add(ctx context.Context, info func(context.Context) (Members, error)) (string, error) {
	known, err := info(ctx)
	if err != nil {
		return "", err
	}
	endpoints := []string{}
	for _, member := range known.Members {
		endpoints = append(endpoints, member.ClientURLs...)
	}
	if len(endpoints) == 0 {
		return "", errors.New("the server to join knows of no etcd member")
	}
	client, err := m.Client(endpoints...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, addLimit)
	defer cancel()
	list, err := client.MemberList(limited)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errMemberList, err)
	}
	added := false
	cluster := []string{}
	for _, member := range list.Members {
		node := member.Name
		if cut := strings.LastIndex(node, "-"); cut > 0 {
			node = node[:cut]
		}
		mine := slices.Contains(member.PeerURLs, m.PeerURL())
		if node == m.NodeName && member.Name != m.Name {
			return "", errDuplicate
		}
		if mine {
			added = true
			cluster = append(cluster, m.Name+"="+m.PeerURL())
			continue
		}
		for _, peer := range member.PeerURLs {
			cluster = append(cluster, member.Name+"="+peer)
		}
	}
	if !added {
		logrus.Infof("Adding member %s=%s to etcd cluster %v", m.Name, m.PeerURL(), cluster)
		if _, err := client.MemberAddAsLearner(limited, []string{m.PeerURL()}); err != nil {
			return "", err
		}
		cluster = append(cluster, m.Name+"="+m.PeerURL())
	}
	return strings.Join(cluster, ","), nil
}

// Info lists the members as this server knows them.
func (m *Member) Info(ctx context.Context) (Members, error) {
	if m == nil {
		return Members{}, errors.New("etcd is not started")
	}
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	list, err := m.client.MemberList(limited, clientv3.WithSerializable())
	if err != nil {
		return Members{}, err
	}
	return Members{Members: list.Members}, nil
}
