package etcd

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
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

// Manage promotes learners, evicts those that never started and reports on every member, each tick that this member leads.
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
		limited, cancel := context.WithTimeout(ctx, manageEvery)
		if health := m.look(limited, learners); health != nil {
			report(limited, health)
		}
		cancel()
	}
}

// look promotes and examines the members, nil where another one leads.
//
// It asks no other member: a client of the original answers Status always from the etcd that it is connected to (its
// Maintenance is made from one connection and heeds no endpoint), which is the leader's own. So a learner that has started
// is never evicted, however long it has been dead, and a voter that is dead remains a voter.
func (m *Member) look(ctx context.Context, learners map[uint64]progress) []Health {
	status, err := m.client.Status(ctx, loopbackURL)
	if err != nil {
		logrus.Errorf("Failed to check local etcd status for learner management: %v", err)
		return nil
	}
	if status.Header.MemberId != status.Leader {
		clear(learners)
		return nil
	}
	list, err := m.client.MemberList(ctx)
	if err != nil {
		logrus.Errorf("Failed to get etcd members for learner management: %v", err)
		return nil
	}
	health := []Health{}
	for _, member := range list.Members {
		if member.IsLearner {
			m.promote(ctx, member, status, learners)
		}
		health = append(health, examine(member, status))
	}
	return health
}

func (m *Member) promote(ctx context.Context, member *etcdserverpb.Member, leader *clientv3.StatusResponse, learners map[uint64]progress) {
	_, err := m.client.MemberPromote(ctx, member.ID)
	if err == nil {
		logrus.Infof("Promoted learner %s", member.Name)
		delete(learners, member.ID)
		return
	}
	logrus.Debugf("Unable to promote learner %s: %v", member.Name, err)
	now := time.Now()
	last, known := learners[member.ID]
	if !known {
		last.since = now
	}
	last = last.after(member, leader, now)
	learners[member.ID] = last
	stalled := now.Sub(last.since)
	if stalled > 0 {
		logrus.Warnf("Learner %s stalled at RaftAppliedIndex=%d for %s", member.Name, last.applied, stalled)
	}
	if stalled <= stallLimit {
		return
	}
	if _, err := m.client.MemberRemove(ctx, member.ID); err != nil {
		logrus.Errorf("Failed to track learner progress towards promotion: %v", err)
		return
	}
	logrus.Warnf("Removed learner %s from etcd cluster", member.Name)
	delete(learners, member.ID)
}

// after is what counts as a learner's progress after a look: the leader's own, once the learner has said where it listens.
func (p progress) after(member *etcdserverpb.Member, leader *clientv3.StatusResponse, now time.Time) progress {
	started := len(member.ClientURLs) > 0 && len(leader.Errors) == 0
	if started && leader.RaftAppliedIndex > p.applied {
		return progress{applied: leader.RaftAppliedIndex, since: now}
	}
	return p
}

// examine says what a member is. What it was at this look counts: one promoted just now is still called a learner.
func examine(member *etcdserverpb.Member, leader *clientv3.StatusResponse) Health {
	health := Health{Name: member.Name, Voter: !member.IsLearner, Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster"}
	if member.IsLearner {
		health.Reason, health.Message = "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	}
	unhealthy := ""
	switch {
	case len(member.ClientURLs) == 0:
		unhealthy = "etcd member ClientURLs list is empty"
	case len(leader.Errors) > 0:
		unhealthy = "etcd member has status errors: " + strings.Join(leader.Errors, ",")
	}
	if unhealthy != "" {
		health.Voter, health.Reason, health.Message = false, "Unhealthy", unhealthy
	}
	return health
}
