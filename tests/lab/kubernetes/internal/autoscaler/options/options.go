// Package options holds the flags that the autoscaler understands; any other is fatal.
package options

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// Options is what the flags say.
type Options struct {
	CloudProvider, CloudConfig, Namespace, Kubeconfig, Address string
	ClusterName, Expander, StatusConfigMap                     string
	Nodes                                                      []string
	KubeClientQPS                                              float32
	KubeClientBurst                                            int

	ScanInterval, MaxInactivity, MaxFailing time.Duration
	MaxNodesTotal                           int
	MaxNodeProvisionTime                    time.Duration
	NewPodScaleUpDelay                      time.Duration
	EnforceMinSize, WriteStatus             bool
	FrequentLoops, DuplicatedEvents         bool
	PriorityCutoff                          int
	OkUnreadyCount                          int
	MaxUnreadyPercentage                    float64

	InitialBackoff, MaxBackoff, BackoffReset time.Duration

	ScaleDown  ScaleDown
	LeaderElec LeaderElection
}

// ScaleDown is about removing nodes.
type ScaleDown struct {
	Enabled, UnreadyEnabled                           bool
	DelayAfterAdd, DelayAfterDelete, DelayAfterFail   time.Duration
	UnneededTime, UnreadyTime, UnremovableRecheck     time.Duration
	Threshold                                         float64
	SkipSystemPods, SkipLocalStorage, SkipCustomOwner bool
	IgnoreDaemonSets                                  bool
	MaxGracefulTermination                            int
	MaxParallelism, MaxDrainParallelism               int
	MaxPodEviction, DeleteDelay                       time.Duration
	MaxSoftTaints                                     int
	MaxSoftTaintTime                                  time.Duration
}

// LeaderElection is about which of several pods acts.
type LeaderElection struct {
	Enabled                                   bool
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	ResourceLock, ResourceName                string
}

// AddFlags registers every flag with its default.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.CloudProvider, "cloud-provider", "slicer", "Cloud provider type; only slicer is built in.")
	flags.StringVar(&o.CloudConfig, "cloud-config", "", "The path to the cloud provider configuration file.")
	flags.StringVar(&o.Namespace, "namespace", "kube-system", "Namespace in which the autoscaler runs.")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "Path to a kubeconfig; empty means in the cluster.")
	flags.StringVar(&o.Address, "address", ":8085", "The address to serve health checks on.")
	flags.StringVar(&o.ClusterName, "cluster-name", "", "Autoscaled cluster name, shown in the status.")
	flags.StringSliceVar(&o.Nodes, "nodes", nil, "min:max:name of a group; this provider takes its groups from the cloud-config alone.")
	flags.Float32Var(&o.KubeClientQPS, "kube-client-qps", 5, "QPS of the Kubernetes client.")
	flags.IntVar(&o.KubeClientBurst, "kube-client-burst", 10, "Burst of the Kubernetes client.")
	flags.DurationVar(&o.ScanInterval, "scan-interval", 10*time.Second, "How often the cluster is evaluated.")
	flags.DurationVar(&o.MaxInactivity, "max-inactivity", 10*time.Minute, "Time without any loop after which the health check fails.")
	flags.DurationVar(&o.MaxFailing, "max-failing-time", 15*time.Minute, "Time without a successful loop after which the health check fails.")

	flags.StringVar(&o.Expander, "expander", "least-waste", "How to choose among groups: random, most-pods, least-waste or priority.")
	flags.IntVar(&o.MaxNodesTotal, "max-nodes-total", 0, "Maximum number of nodes in the cluster; 0 means no limit.")
	flags.DurationVar(&o.MaxNodeProvisionTime, "max-node-provision-time", 15*time.Minute, "Time that a node may take to register.")
	flags.DurationVar(&o.NewPodScaleUpDelay, "new-pod-scale-up-delay", 0, "Pods younger than this are not considered.")
	flags.BoolVar(&o.EnforceMinSize, "enforce-node-group-min-size", false, "Scale groups up to their min size.")
	flags.IntVar(&o.PriorityCutoff, "expendable-pods-priority-cutoff", -10, "Pods with lower priority never cause a scale-up.")
	flags.IntVar(&o.OkUnreadyCount, "ok-total-unready-count", 3, "Number of unready nodes that is always tolerated.")
	flags.Float64Var(&o.MaxUnreadyPercentage, "max-total-unready-percentage", 45, "Percentage of unready nodes above which the autoscaler halts.")
	flags.DurationVar(&o.InitialBackoff, "initial-node-group-backoff-duration", 5*time.Minute, "First backoff after a failed scale-up.")
	flags.DurationVar(&o.MaxBackoff, "max-node-group-backoff-duration", 30*time.Minute, "Longest backoff.")
	flags.DurationVar(&o.BackoffReset, "node-group-backoff-reset-timeout", 3*time.Hour, "Time after which a backoff starts from anew.")
	flags.BoolVar(&o.WriteStatus, "write-status-configmap", true, "Write the status to a configmap.")
	flags.StringVar(&o.StatusConfigMap, "status-config-map-name", "cluster-autoscaler-status", "Name of that configmap.")
	flags.BoolVar(&o.FrequentLoops, "frequent-loops-enabled", true, "Start a loop at once where there is something to do.")
	flags.BoolVar(&o.DuplicatedEvents, "record-duplicated-events", false, "Record an event again and again within five minutes.")
	o.ScaleDown.addFlags(flags)
	o.LeaderElec.addFlags(flags)
}

func (s *ScaleDown) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&s.Enabled, "scale-down-enabled", true, "Remove unneeded nodes.")
	flags.BoolVar(&s.UnreadyEnabled, "scale-down-unready-enabled", true, "Remove unneeded nodes that are not ready.")
	flags.DurationVar(&s.DelayAfterAdd, "scale-down-delay-after-add", 10*time.Minute, "How long after a scale-up scale-down rests.")
	flags.DurationVar(&s.DelayAfterDelete, "scale-down-delay-after-delete", 0, "How long after a deletion scale-down rests.")
	flags.DurationVar(&s.DelayAfterFail, "scale-down-delay-after-failure", 3*time.Minute, "How long after a failed deletion scale-down rests.")
	flags.DurationVar(&s.UnneededTime, "scale-down-unneeded-time", 10*time.Minute, "How long a node is unneeded before it is removed.")
	flags.DurationVar(&s.UnreadyTime, "scale-down-unready-time", 20*time.Minute, "The same for a node that is not ready.")
	flags.DurationVar(&s.UnremovableRecheck, "unremovable-node-recheck-timeout", 5*time.Minute, "How long a node found unremovable is left alone.")
	flags.Float64Var(&s.Threshold, "scale-down-utilization-threshold", 0.5, "Utilization below which a node may be unneeded.")
	flags.BoolVar(&s.SkipSystemPods, "skip-nodes-with-system-pods", true, "Keep nodes with kube-system pods (but DaemonSets and mirrors).")
	flags.BoolVar(&s.SkipLocalStorage, "skip-nodes-with-local-storage", true, "Keep nodes with pods that use local storage.")
	flags.BoolVar(&s.SkipCustomOwner, "skip-nodes-with-custom-controller-pods", true, "Keep nodes with pods of unknown controllers.")
	flags.BoolVar(&s.IgnoreDaemonSets, "ignore-daemonsets-utilization", false, "Leave DaemonSet pods out of the utilization.")
	flags.IntVar(&s.MaxGracefulTermination, "max-graceful-termination-sec", 600, "Longest wait for an evicted pod to end.")
	flags.IntVar(&s.MaxParallelism, "max-scale-down-parallelism", 10, "Nodes that may be deleted at once.")
	flags.IntVar(&s.MaxDrainParallelism, "max-drain-parallelism", 1, "Of these, nodes that may be drained at once.")
	flags.DurationVar(&s.MaxPodEviction, "max-pod-eviction-time", 2*time.Minute, "How long evictions that a budget refuses are tried again.")
	flags.DurationVar(&s.DeleteDelay, "node-delete-delay-after-taint", 5*time.Second, "How long to wait before deleting a node after tainting it.")
	flags.IntVar(&s.MaxSoftTaints, "max-bulk-soft-taint-count", 10, "Nodes that may get or lose a soft taint in a loop; 0 for no soft taints.")
	flags.DurationVar(&s.MaxSoftTaintTime, "max-bulk-soft-taint-time", 3*time.Second, "How long a loop may spend on soft taints.")
}

func (l *LeaderElection) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&l.Enabled, "leader-elect", true, "Act only while holding the lease.")
	flags.DurationVar(&l.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long others wait for a silent leader.")
	flags.DurationVar(&l.RenewDeadline, "leader-elect-renew-deadline", 10*time.Second, "How long a leader tries to renew.")
	flags.DurationVar(&l.RetryPeriod, "leader-elect-retry-period", 2*time.Second, "Time between tries.")
	flags.StringVar(&l.ResourceLock, "leader-elect-resource-lock", "leases", "Kind of the lock; only leases.")
	flags.StringVar(&l.ResourceName, "leader-elect-resource-name", "cluster-autoscaler", "Name of the lock.")
}

// Check refuses what no flag type can refuse by itself.
func (o *Options) Check() error {
	if o.CloudProvider != "slicer" {
		return fmt.Errorf("Unknown cloud provider: %s", o.CloudProvider)
	}
	if o.LeaderElec.ResourceLock != "leases" {
		return fmt.Errorf("unsupported leader election lock: %s", o.LeaderElec.ResourceLock)
	}
	return nil
}
