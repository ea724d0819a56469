// Command cluster-autoscaler is the lab's autoscaler: it keeps the contract of the Cluster Autoscaler with its Slicer
// provider, goes through the same steps and says the same words, and shares no code with it.
package main

import (
	"context"
	"errors"
	goflag "flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/core"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/events"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/health"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

// version is that of the original whose words these are.
const version = "1.34.1"

func main() {
	var o options.Options
	o.AddFlags(pflag.CommandLine)
	klog.InitFlags(nil)
	pflag.CommandLine.AddGoFlagSet(goflag.CommandLine)
	pflag.Parse()
	// The first line of every log, harmless.
	klogat.Warning("feature_gate.go:352", "Setting GA feature gate DynamicResourceAllocation=false. It will be removed in a future release.")
	klogat.Info(1, "main.go:379", "Cluster Autoscaler %s", version)
	if err := o.Check(); err != nil {
		klogat.Fatal("cloud_provider_builder.go:51", "%v", err)
	}
	config, err := restConfig(&o)
	if err != nil {
		klogat.Fatal("client.go:52", "Failed to build config: %v", err)
	}
	check := health.New(o.MaxInactivity, o.MaxFailing)
	go serve(o.Address, check)
	ctx := context.Background()
	if !o.LeaderElec.Enabled {
		run(ctx, &o, config, check)
		return
	}
	lease, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(config), "leader-election"))
	if err != nil {
		klogat.Fatal("main.go:426", "Unable to create leader election lock: %v", err)
	}
	recorder := events.Recorder(lease, o.DuplicatedEvents)
	err = lead(ctx, &o, lease.CoordinationV1(), func(ctx context.Context) { run(ctx, &o, config, check) }, recorder)
	if err != nil {
		klogat.Fatal("main.go:426", "Unable to create leader election lock: %v", err)
	}
}

// run reads the groups, which only a leader does, and loops for ever.
func run(ctx context.Context, o *options.Options, config *rest.Config, check *health.Check) {
	// One client for all, events too: its five requests a second are what a start and a busy loop wait for.
	client := clientFor(config)
	recorder := events.Recorder(client, o.DuplicatedEvents)
	source := core.NewInformers(client)
	status := core.NewStatusMap(ctx, client, recorder, o)
	klogat.Info(1, "cloud_provider_builder.go:30", "Building %s cloud provider.", o.CloudProvider)
	groups, err := provider.Build(ctx, o.CloudConfig, client)
	var death *provider.Death
	if errors.As(err, &death) {
		klogat.Fatal(death.Position, "%s", death.Words)
	}
	autoscaler, err := core.New(client, source, groups, o, recorder, status)
	if err != nil {
		klogat.Fatal("main.go:309", "Failed to create autoscaler: %v", err)
	}
	klogat.Info(0, "main.go:282", "Initializing resource informers, blocking until caches are synced")
	if err := source.Sync(ctx.Done()); err != nil {
		klogat.Fatal("main.go:309", "Failed to create autoscaler: %v", err)
	}
	trigger := core.NewTrigger(ctx, clientFor(config), autoscaler)
	go stopOnSignal(ctx, status)
	check.Start()
	autoscaler.Start(ctx)
	last := time.Now()
	for before := last; ; {
		if o.FrequentLoops {
			trigger.Wait(ctx, before)
		} else {
			time.Sleep(o.ScanInterval)
		}
		before, last = last, time.Now()
		check.Report(autoscaler.RunOnce(ctx, last))
	}
}

func clientFor(config *rest.Config) kubernetes.Interface {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klogat.Fatal("client.go:62", "Failed to build Kubernetes client configuration: %v", err)
	}
	return client
}

// lead calls act once this pod holds the lease, and ends the program when it loses it.
func lead(ctx context.Context, o *options.Options, leases coordinationv1.LeasesGetter, act func(context.Context), recorder record.EventRecorder) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("no host name: %w", err)
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: o.LeaderElec.ResourceName, Namespace: o.Namespace},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID()), EventRecorder: recorder},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: o.LeaderElec.LeaseDuration,
		RenewDeadline: o.LeaderElec.RenewDeadline,
		RetryPeriod:   o.LeaderElec.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: act,
			OnStoppedLeading: func() { klogat.Fatal("main.go:444", "lost master") },
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	return nil
}

func restConfig(o *options.Options) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = o.KubeClientQPS, o.KubeClientBurst
	return config, nil
}

func serve(address string, check *health.Check) {
	mux := http.NewServeMux()
	mux.Handle("/health-check", check)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	klogat.Fatal("main.go:397", "Failed to start metrics: %v", server.ListenAndServe())
}

// stopOnSignal removes the status and ends. The lease is not given back: a successor has to wait until it runs out.
func stopOnSignal(ctx context.Context, status *core.StatusMap) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	klogat.Info(1, "main.go:91", "Registered cleanup signal handler")
	<-signals
	klogat.Info(1, "main.go:95", "Received signal, attempting cleanup")
	status.Delete(ctx)
	klogat.Info(1, "main.go:97", "Cleaned up, exiting...")
	klog.Flush()
	os.Exit(0)
}
