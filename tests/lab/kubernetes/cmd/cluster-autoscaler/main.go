// Command cluster-autoscaler is the lab's autoscaler: it keeps the contract of the Cluster Autoscaler with its Slicer
// provider, as far as its documentation and users tell, and shares no code with it.
package main

import (
	"context"
	goflag "flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/core"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/health"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/provider"
)

func main() {
	var o options.Options
	o.AddFlags(pflag.CommandLine)
	klog.InitFlags(nil)
	pflag.CommandLine.AddGoFlagSet(goflag.CommandLine)
	pflag.Parse()
	if err := o.Check(); err != nil {
		klog.Fatalf("%v", err)
	}
	klog.V(1).Info("Cluster Autoscaler (lab)")

	config, err := restConfig(&o)
	if err != nil {
		klog.Fatalf("Failed to build config: %v", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Fatalf("Failed to create client: %v", err)
	}
	check := health.New(o.MaxInactivity, o.MaxFailing)
	go serve(o.Address, check)
	go stopOnSignal()

	// Hundreds of pods get events at once; these must not make the loops or the lease wait.
	side, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(config), "events"))
	if err != nil {
		klog.Fatalf("Failed to create client: %v", err)
	}
	recorder := eventRecorder(side)
	ctx := context.Background()
	if !o.LeaderElec.Enabled {
		run(ctx, &o, client, recorder, check)
		return
	}
	lease, err := kubernetes.NewForConfig(rest.AddUserAgent(rest.CopyConfig(config), "leader-election"))
	if err != nil {
		klog.Fatalf("Failed to create client: %v", err)
	}
	err = lead(ctx, &o, lease.CoordinationV1(), func(ctx context.Context) { run(ctx, &o, client, recorder, check) }, recorder)
	if err != nil {
		klog.Fatalf("Failed to start leader election: %v", err)
	}
}

// run reads the groups, which only a leader does, and loops for ever.
func run(ctx context.Context, o *options.Options, client kubernetes.Interface, recorder record.EventRecorder, check *health.Check) {
	groups, err := provider.Build(ctx, o.CloudConfig, client)
	if err != nil {
		klog.Fatalf("%v", err)
	}
	autoscaler, err := core.New(client, groups, o, recorder)
	if err != nil {
		klog.Fatalf("Failed to create autoscaler: %v", err)
	}
	// The original says this once its provider is built, one scan interval before its first loop.
	klog.V(1).Info("Registered cleanup signal handler")
	check.Start()
	for {
		time.Sleep(o.ScanInterval)
		check.Report(autoscaler.RunOnce(ctx, time.Now()))
	}
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
			OnStoppedLeading: func() { klog.Fatalf("lost master") },
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

func eventRecorder(client kubernetes.Interface) record.EventRecorder {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartStructuredLogging(4)
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(metav1.NamespaceAll)})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "cluster-autoscaler"})
}

func serve(address string, check *health.Check) {
	mux := http.NewServeMux()
	mux.Handle("/health-check", check)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	klog.Fatalf("Failed to start health check: %v", server.ListenAndServe())
}

// stopOnSignal ends without giving the lease back: a successor has to wait until it runs out.
func stopOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	<-signals
	klog.V(1).Info("Received signal, attempting cleanup")
	klog.Flush()
	os.Exit(0)
}
