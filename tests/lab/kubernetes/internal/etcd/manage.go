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
		limited, cancel := context.WithTimeout(ctx, manageEvery)
		if health := m.look(limited, learners); health != nil {
			report(limited, health)
		}
		cancel()
	}
}

// look promotes and examines the members, nil where another one leads.
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
		state := m.examine(ctx, member)
		if member.IsLearner {
			m.promote(ctx, member, learners)
		}
		health = append(health, state)
	}
	return health
}

func (m *Member) promote(ctx context.Context, member *etcdserverpb.Member, learners map[uint64]progress) {
	_, err := m.client.MemberPromote(ctx, member.ID)
	if err == nil {
		logrus.Infof("Promoted learner %s", member.Name)
		delete(learners, member.ID)
		return
	}
	logrus.Debugf("Unable to promote learner %s: %v", member.Name, err)
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
		if _, err := m.client.MemberRemove(ctx, member.ID); err != nil {
			logrus.Errorf("Failed to track learner progress towards promotion: %v", err)
			return
		}
		logrus.Warnf("Removed learner %s from etcd cluster", member.Name)
		delete(learners, member.ID)
	default:
		logrus.Warnf("Learner %s stalled at RaftAppliedIndex=%d for %s", member.Name, applied, time.Since(last.since).Round(time.Second))
	}
}

// examine says what a member is. What it was at the last look counts: one promoted just now is still called a learner.
func (m *Member) examine(ctx context.Context, member *etcdserverpb.Member) Health {
	health := Health{Name: member.Name, Voter: !member.IsLearner, Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster"}
	if member.IsLearner {
		health.Reason, health.Message = "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	}
	if err := m.reach(ctx, member); err != nil {
		health.Voter, health.Reason, health.Message = false, "Unhealthy", err.Error()
	}
	return health
}

// reach asks a member for its status.
func (m *Member) reach(ctx context.Context, member *etcdserverpb.Member) error {
	if len(member.ClientURLs) == 0 {
		return errors.New("etcd member ClientURLs list is empty")
	}
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	client, err := m.Client(member.ClientURLs...)
	if err != nil {
		return err
	}
	defer client.Close()
	status, err := client.Status(limited, member.ClientURLs[0])
	if err != nil {
		return fmt.Errorf("failed to check etcd member status: %w", err)
	}
	if len(status.Errors) > 0 {
		return errors.New("etcd member has status errors: " + strings.Join(status.Errors, ","))
	}
	return nil
}
