package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
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

var (
	errDuplicate = errors.New("duplicate node name found, please use a unique name for this node")
	errAddLimit  = errors.New("MemberAdd request timed out")
)

// ListError is a member list that the server to join did not give.
type ListError struct{ Cause error }

func (e *ListError) Error() string {
	return fmt.Sprintf("failed to get MemberList from server: %v", e.Cause)
}

// Members is what /db/info answers.
type Members struct {
	Members []*etcdserverpb.Member `json:"members"`
}

// Cluster is the cluster to join, as one of its servers sees it.
type Cluster struct {
	// Host is the address of that server: it is asked first.
	Host string
	List func(context.Context) (Members, error)
}

// Join adds this server as a learner to a cluster, and starts it. What the cluster may get over by itself is waited
// for, for ever; anything else is the end.
func (m *Member) Join(ctx context.Context, cluster Cluster) error {
	for {
		initial, err := m.add(ctx, cluster)
		if err == nil {
			return m.Start(initial)
		}
		waits, passing := waiting(err)
		if !passing {
			return err
		}
		logrus.Infof("%s: %v", waits, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// waiting says what is being waited for, where the reason may go away by itself.
func waiting(err error) (string, bool) {
	var list *ListError
	switch {
	case errors.Is(err, rpctypes.ErrTooManyLearners), errors.Is(err, rpctypes.ErrUnhealthy):
		return "Waiting for other members to finish joining etcd cluster", true
	case errors.As(err, &list):
		return "Waiting to retrieve etcd cluster member list", true
	case errors.Is(err, errAddLimit):
		return "Retrying etcd cluster join", true
	}
	return "", false
}

// add returns the initial cluster to start with, empty where this member is to be the only one.
func (m *Member) add(ctx context.Context, cluster Cluster) (string, error) {
	limited, cancel := context.WithTimeout(ctx, addLimit)
	defer cancel()
	known, err := cluster.List(limited)
	if err != nil {
		return "", err
	}
	initial, member, err := m.initial(known)
	if err != nil {
		return "", err
	}
	if member {
		if len(initial) < 2 {
			logrus.Info("Starting etcd for new cluster")
			return "", nil
		}
		logrus.Infof("Starting etcd to join cluster with members %v", initial)
		return strings.Join(initial, ","), nil
	}
	client, err := m.Client(m.endpoints(known, cluster.Host)...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	logrus.Infof("Adding member %s=%s to etcd cluster %v", m.Name, m.PeerURL(), initial)
	if err := addLearner(limited, client, m.PeerURL()); err != nil {
		return "", err
	}
	return strings.Join(append(initial, m.Name+"="+m.PeerURL()), ","), nil
}

func addLearner(ctx context.Context, client *clientv3.Client, peer string) error {
	_, err := client.MemberAddAsLearner(ctx, []string{peer})
	if errors.Is(err, context.DeadlineExceeded) {
		return errAddLimit
	}
	return err
}

// initial lists the members of a cluster in the form that etcd starts with, and whether this server is one of them.
func (m *Member) initial(known Members) (initial []string, member bool, err error) {
	for _, other := range known.Members {
		for _, peer := range other.PeerURLs {
			mine := hostname(peer) == m.IP.String()
			// One that was added and never started has no name; with our address it is us.
			if other.Name == "" && mine {
				other.Name = m.Name
			}
			member = member || other.Name == m.Name && mine
			initial = append(initial, other.Name+"="+other.PeerURLs[0])
		}
		node := other.Name
		if cut := strings.LastIndex(node, "-"); cut > 1 {
			node = node[:cut]
		}
		if other.Name != m.Name && node == m.NodeName {
			// The next start is a new member's: by then the name may be free.
			if err := os.Remove(m.path("name")); err != nil {
				logrus.Errorf("Failed to remove etcd name file %s: %v", m.path("name"), err)
			}
			return nil, false, errDuplicate
		}
	}
	return initial, member, nil
}

// endpoints are the client URLs of the voters, the server to join first.
func (m *Member) endpoints(known Members, host string) []string {
	endpoints := []string{}
	for _, other := range known.Members {
		if other.IsLearner || m.self(other.ClientURLs) {
			continue
		}
		preferred := false
		for _, address := range other.ClientURLs {
			preferred = preferred || hostname(address) == host
		}
		if preferred {
			endpoints = append(append([]string{}, other.ClientURLs...), endpoints...)
		} else {
			endpoints = append(endpoints, other.ClientURLs...)
		}
	}
	if len(endpoints) == 0 {
		return []string{loopbackURL}
	}
	return endpoints
}

// Info lists the members; it takes a quorum to know them, and a vote.
func (m *Member) Info(ctx context.Context) (Members, error) {
	if m == nil {
		return Members{}, errors.New("failed to get etcd MemberList: etcd not started")
	}
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	list, err := m.client.MemberList(limited)
	if err != nil {
		return Members{}, fmt.Errorf("failed to get etcd MemberList: %w", err)
	}
	return Members{Members: list.Members}, nil
}
