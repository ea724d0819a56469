package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"slicer-k3s.lab/kubernetes/internal/files"
)

const (
	// manageEvery and stallLimit are the original's: a lab that promotes faster would flatter every figure.
	manageEvery = 15 * time.Second
	stallLimit  = 5 * time.Minute
	// phaseVariable moves the first tick (a duration, at most manageEvery), so that a benchmark can repeat its luck.
	phaseVariable = "K3S_LAB_PROMOTE_PHASE"
)

// Health is what the leader found out about one member.
type Health struct {
	Name    string
	Voter   bool
	Reason  string
	Message string
}

type progress struct {
	applied uint64
	since   time.Time
}

// Manage promotes learners, evicts stalled ones and reports on every member, each tick that this member leads.
func (m *Member) Manage(ctx context.Context, report func(context.Context, []Health)) {
	first := manageEvery
	if phase, err := time.ParseDuration(os.Getenv(phaseVariable)); err == nil && phase > 0 && phase < manageEvery {
		first = phase
	}
	learners := map[uint64]progress{}
	for timer := time.NewTimer(first); ; timer.Reset(manageEvery) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !m.Leads() {
			clear(learners)
			continue
		}
		limited, cancel := context.WithTimeout(ctx, manageEvery)
		list, err := m.client.MemberList(limited)
		if err != nil {
			logrus.Errorf("Failed to get etcd member list: %v", err)
			cancel()
			continue
		}
		health := []Health{}
		for _, member := range list.Members {
			if member.IsLearner {
				m.promote(limited, member, learners)
			}
			health = append(health, m.examine(limited, member))
		}
		report(limited, health)
		cancel()
	}
}

// Leads says whether this member is the leader.
func (m *Member) Leads() bool {
	return m.server.Server.Leader() == m.server.Server.MemberID()
}

func (m *Member) promote(ctx context.Context, member *etcdserverpb.Member, learners map[uint64]progress) {
	_, err := m.client.MemberPromote(ctx, member.ID)
	if err == nil {
		logrus.Infof("Promoted learner %s to voting member", member.Name)
		delete(learners, member.ID)
		return
	}
	logrus.Infof("Unable to promote learner %s: %v", member.Name, err)
	last, known := learners[member.ID]
	applied := last.applied
	if len(member.ClientURLs) > 0 {
		limited, cancel := context.WithTimeout(ctx, statusLimit)
		defer cancel()
		if client, err := m.Client(member.ClientURLs...); err == nil {
			defer client.Close()
			if status, err := client.Status(limited, member.ClientURLs[0]); err == nil {
				applied = status.RaftAppliedIndex
			}
		}
	}
	switch {
	case !known || applied > last.applied:
		learners[member.ID] = progress{applied: applied, since: time.Now()}
	case time.Since(last.since) > stallLimit:
		logrus.Warnf("Learner %s stalled at raft index %d for %s, removing from cluster", member.Name, applied, stallLimit)
		if _, err := m.client.MemberRemove(ctx, member.ID); err != nil {
			logrus.Errorf("Failed to remove stalled learner: %v", err)
		}
		delete(learners, member.ID)
	}
}

func (m *Member) examine(ctx context.Context, member *etcdserverpb.Member) Health {
	health := Health{Name: member.Name, Reason: "Unhealthy"}
	if len(member.ClientURLs) == 0 {
		health.Message = "member has not started"
		return health
	}
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	client, err := m.Client(member.ClientURLs...)
	if err != nil {
		health.Message = err.Error()
		return health
	}
	defer client.Close()
	status, err := client.Status(limited, member.ClientURLs[0])
	switch {
	case err != nil:
		health.Message = err.Error()
	case status.IsLearner:
		health.Reason, health.Message = "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	default:
		health.Voter, health.Reason, health.Message = true, "MemberNotLearner", "Node is a voting member of the etcd cluster"
	}
	return health
}

// Remove takes a member out of the cluster, by name or by its peer URL.
func (m *Member) Remove(ctx context.Context, name, peerURL string) error {
	list, err := m.client.MemberList(ctx)
	if err != nil {
		return err
	}
	for _, member := range list.Members {
		if name != "" && member.Name == name || slices.Contains(member.PeerURLs, peerURL) {
			logrus.Infof("Removing name=%s id=%d from etcd", member.Name, member.ID)
			_, err := m.client.MemberRemove(ctx, member.ID)
			return err
		}
	}
	return nil
}

func (m *Member) tombstone() string { return m.path("tombstone") }

// gone leaves a mark so that the next start does not come up with data the cluster has thrown this member out for.
func (m *Member) gone() error {
	err := errors.New("this server has been removed from the etcd cluster")
	return errors.Join(err, files.Write(m.tombstone(), []byte(time.Now().UTC().Format(time.RFC3339)), 0o600))
}

// Gone is the reason to end with once Ended is closed without our doing.
func (m *Member) Gone() error {
	if m.server.Server.Cluster().Member(m.server.Server.MemberID()) == nil {
		return m.gone()
	}
	return errors.New("etcd stopped")
}

// BuryRemoved moves the data of a removed member out of the way.
func BuryRemoved(dbDir string) error {
	data := filepath.Join(dbDir, "etcd")
	if _, err := os.Stat(filepath.Join(data, "tombstone")); err != nil {
		return nil
	}
	logrus.Infof("etcd data has been tombstoned, moving it out of the way")
	return os.Rename(data, fmt.Sprintf("%s-old-%d", data, time.Now().Unix()))
}
