package server

import (
	"context"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"slicer-k3s.lab/kubernetes/internal/process"
)

// The original's: a leader that is gone without a word is missed for so long.
const (
	leaseDuration = 45 * time.Second
	renewDeadline = 30 * time.Second
	retryPeriod   = 2 * time.Second
)

// lead runs something on the one server that holds a lease. A leader that loses it ends, and so begins again. A lease is
// not given back at the end: by then etcd has stopped.
func lead(ctx context.Context, client kubernetes.Interface, name string, children *process.Group, run func(context.Context)) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, metav1.NamespaceSystem, name, client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: host})
	if err != nil {
		return err
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, Name: name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: run,
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					children.Failed <- &process.Fatal{Text: "leaderelection lost for " + name}
				}
			},
		},
	})
	if err != nil {
		return err
	}
	go elector.Run(ctx)
	logrus.Debugf("candidate for %s", name)
	return nil
}
