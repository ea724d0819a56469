// Package multicall runs the real components that are compiled into this binary, each under its own name.
package multicall

import (
	"os"

	helmcontroller "github.com/k3s-io/helm-controller/pkg/app"
	_ "github.com/rancher/wrangler/v3/pkg/generated/controllers/apiextensions.k8s.io"
	"github.com/rancher/wrangler/v3/pkg/signals"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Components maps the name of each compiled-in component to what runs it; the arguments follow the name.
var Components = map[string]func(args []string) int{
	"kube-apiserver":          cobraComponent(apiserver.NewAPIServerCommand),
	"kube-controller-manager": cobraComponent(controllers.NewControllerManagerCommand),
	"kube-scheduler":          cobraComponent(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kube-proxy":              cobraComponent(proxy.NewProxyCommand),
	"kubelet":                 runKubelet,
	"helm-controller":         runHelmController,
}

func cobraComponent(command func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		c := command()
		c.SetArgs(args)
		return cli.Run(c)
	}
}

// runKubelet exists because the kubelet parses its flags itself and wants a context that ends with the signal.
func runKubelet(args []string) int {
	c := kubelet.NewKubeletCommand(signals.SetupSignalContext())
	c.SetArgs(args)
	return cli.Run(c)
}

func runHelmController(args []string) int {
	ctx := signals.SetupSignalContext()
	if err := helmcontroller.New().RunContext(ctx, append([]string{"helm-controller"}, args...)); err != nil && ctx.Err() == nil {
		return 1
	}
	return 0
}

// Kubectl runs kubectl with the given arguments; kubectl itself reads them from os.Args.
func Kubectl(args []string) int {
	os.Args = append([]string{"kubectl"}, args...)
	return cli.Run(kubectl.NewDefaultKubectlCommand())
}
