// Package flannel runs flannel's vxlan backend inside this process: flannel's own packages, our own short main.
package flannel

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan" // registers the one backend that is offered
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/files"
)

const (
	annotations  = "flannel.alpha.coreos.com"
	subnetFile   = "/run/flannel/subnet.env"
	resyncPeriod = 60
)

// Settings is what flannel must know of this node.
type Settings struct {
	NodeName   string
	Address    net.IP
	Interface  string // chosen by Address when empty
	Network    string
	Kubeconfig string
	ConfigDir  string // network configuration of flannel
	CNIDir     string // network configuration of the container runtime
}

// Run brings the node into the overlay network, then keeps its routes right until the context ends. Its Node object
// must have its pod CIDR already.
func Run(ctx context.Context, s Settings) error {
	// The subnet manager takes the node's name from the environment only.
	if err := os.Setenv("NODE_NAME", s.NodeName); err != nil {
		return err
	}
	netConf := filepath.Join(s.ConfigDir, "net-conf.json")
	content, err := json.Marshal(map[string]any{"Network": s.Network, "EnableIPv6": false, "EnableIPv4": true, "Backend": map[string]string{"Type": "vxlan"}})
	if err != nil {
		return err
	}
	if err := files.Write(netConf, content, 0o644); err != nil {
		return err
	}
	manager, err := kube.NewSubnetManager(ctx, "", s.Kubeconfig, annotations, netConf, false)
	if err != nil {
		return err
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	link, err := externalInterface(s)
	if err != nil {
		return err
	}
	vxlan, err := backend.NewManager(ctx, manager, link).GetBackend("vxlan")
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	network, err := vxlan.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return err
	}
	rules := &iptables.IPTablesManager{}
	if err := rules.Init(ctx); err != nil {
		return err
	}
	none4, none6 := ip.IP4Net{}, ip.IP6Net{}
	if err := rules.SetupAndEnsureMasqRules(ctx, config.Network, none4, none4, config.IPv6Network, none6, none6, network.Lease(), resyncPeriod, false); err != nil {
		return err
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resyncPeriod)
	if err := manager.HandleSubnetFile(subnetFile, config, true, network.Lease().Subnet, network.Lease().IPv6Subnet, network.MTU()); err != nil {
		return err
	}
	if err := writeCNI(s.CNIDir, network.Lease().Subnet.String(), network.MTU()); err != nil {
		return err
	}
	logrus.Infof("flannel: subnet %s over %s, MTU %d", network.Lease().Subnet, link.IfaceName, network.MTU())
	running.Go(func() { network.Run(ctx) })
	err = manager.CompleteLease(ctx, network.Lease(), &running)
	running.Wait()
	return err
}

func externalInterface(s Settings) (*backend.ExternalInterface, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			network, ok := address.(*net.IPNet)
			if ok && (link.Name == s.Interface || s.Interface == "" && network.IP.Equal(s.Address)) {
				return &backend.ExternalInterface{Iface: &link, IfaceName: link.Name, IfaceAddr: network.IP.To4(), ExtAddr: s.Address.To4()}, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %s", s.Address)
}

// writeCNI configures the bridge that pods hang on. flannel's own CNI plugin only translates subnet.env into this.
func writeCNI(dir, subnet string, mtu int) error {
	content, err := json.MarshalIndent(map[string]any{
		"name": "cbr0", "cniVersion": "1.0.0",
		"plugins": []map[string]any{
			{
				"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
				"forceAddress": true, "mtu": mtu, "ipMasq": false,
				"ipam": map[string]any{"type": "host-local", "ranges": [][]map[string]string{{{"subnet": subnet}}}},
			},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(filepath.Join(dir, "10-flannel.conflist"), content, 0o644)
}
