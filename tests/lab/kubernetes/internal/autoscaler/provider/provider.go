// Package provider maps Slicer's host groups and VMs to node groups and nodes of a k3s cluster.
package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/cloudconfig"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
	"slicer-k3s.lab/kubernetes/internal/autoscaler/slicerapi"
)

// Labels that userdata gives a worker's Node; ownership and deletion go by nothing else.
const (
	LabelGroup    = "slicer/hostgroup"
	LabelHostname = "slicer/hostname"
	LabelType     = "k3sup.dev/node-type"
)

// Provider holds the node groups of one cloud-config, which is read once: changes need a restart.
type Provider struct {
	groups []*Group
}

// Death is an error that ends the program, with the place where the original finds it.
type Death struct{ Position, Words string }

func (d *Death) Error() string { return d.Words }

func dies(line int, format string, args ...any) error {
	return &Death{fmt.Sprintf("slicer_cloud_provider.go:%d", line), fmt.Sprintf(format, args...)}
}

// Build reads the file and asks every group's daemon for the group; one failure fails all.
func Build(ctx context.Context, path string, client kubernetes.Interface) (*Provider, error) {
	if path == "" {
		return nil, dies(50, "No config file provided, please specify it via the --cloud-config flag")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, dies(55, "Could not open cloud provider configuration file %q, error: %v", path, err)
	}
	defer file.Close()
	config, err := cloudconfig.Read(file)
	if err != nil {
		return nil, dies(61, "Failed to parse config, error: %v", err)
	}
	klogat.Info(2, "slicer_cloud_provider.go:64", "Slicer: K3S URL=%s", config.K3sURL)
	klogat.Info(2, "slicer_cloud_provider.go:65", "Slicer: K3S token length=%d", len(config.K3sToken))
	if config.CABundle != "" {
		klogat.Info(2, "slicer_cloud_provider.go:67", "Slicer: Using custom CA bundle: %s", config.CABundle)
	}
	// The original walks through a map: nothing may rely on an order of the groups.
	rand.Shuffle(len(config.Groups), func(i, k int) {
		config.Groups[i], config.Groups[k] = config.Groups[k], config.Groups[i]
	})
	provider := &Provider{}
	for _, section := range config.Groups {
		group, err := newGroup(ctx, config, section, client)
		if err != nil {
			return nil, err
		}
		provider.groups = append(provider.groups, group)
	}
	for _, group := range provider.groups {
		group.count(ctx)
	}
	return provider, nil
}

func newGroup(ctx context.Context, config *cloudconfig.Config, section cloudconfig.Group, client kubernetes.Interface) (*Group, error) {
	web, err := httpClient(config.CABundle)
	if err != nil {
		return nil, dies(77, "Failed to create HTTP client with CA bundle for %s: %v", section.Name, err)
	}
	group := &Group{
		config:   section,
		k3sURL:   config.K3sURL,
		k3sToken: config.K3sToken,
		slicer:   slicerapi.New(section.URL, section.Token, web),
		client:   client,
	}
	offered, err := group.slicer.HostGroups(ctx)
	if err != nil {
		return nil, dies(85, "Failed to fetch node groups from %s, error: %v", section.URL, err)
	}
	klogat.Info(0, "slicer_cloud_provider.go:89", "Slicer: Fetched %d host groups from API", len(offered))
	found, known := find(offered, section.Name)
	if !known {
		return nil, dies(97, "Failed to find slicer host group with name %s", section.Name)
	}
	klogat.Info(0, "slicer_cloud_provider.go:99", "Slicer: Host group: Name=%s, RAM=%s, VCPU=%d, Arch=%s",
		found.Name, bytesSize(found.RAMBytes), found.CPUs, found.Arch)
	group.arch = found.Arch
	klogat.Info(0, "slicer_cloud_provider.go:118", "Slicer: Created node group with ID: %s", section.Name)
	return group, nil
}

// count takes the VMs that have a Node for what the group is meant to have. Where that fails the VMs that exist are not
// counted, so the group may later grow past its maximum.
func (g *Group) count(ctx context.Context) {
	klogat.Info(2, "slicer_cloud_provider.go:130", "Slicer: Initializing node group: %s", g.Name())
	names, err := g.Nodes(ctx)
	if err != nil {
		klogat.Error("slicer_cloud_provider.go:133", "Slicer: Failed to get nodes for group %s: %v", g.Name(), err)
	} else {
		klogat.Info(2, "slicer_cloud_provider.go:135", "Slicer: Node group %s has %d nodes from API", g.Name(), len(names))
		for i, name := range names {
			klogat.Info(2, "slicer_cloud_provider.go:137", "Slicer: API Node %d: %s", i, name)
		}
	}
	g.target = len(names)
	klogat.Info(2, "slicer_cloud_provider.go:141", "Slicer: Set target size for group %s to %d", g.Name(), g.target)
}

// Groups returns all node groups, in an order that means nothing.
func (p *Provider) Groups() []*Group { return p.groups }

// GroupOf returns the group that a node belongs to; control plane nodes belong to none. Its words are the bulk of the
// log: the original asks for each node several times a loop.
func (p *Provider) GroupOf(node *corev1.Node) *Group {
	klogat.Info(0, "slicer_cloud_provider.go:165", "Slicer: NodeGroupForNode called for node %s", node.Name)
	klogat.Info(0, "slicer_cloud_provider.go:166", "Slicer: Node labels: %v", node.Labels)
	klogat.Info(0, "slicer_cloud_provider.go:167", "Slicer: Number of configured node groups: %d", len(p.groups))
	var names []string
	for _, group := range p.groups {
		names = append(names, group.Name())
	}
	klogat.Info(0, "slicer_cloud_provider.go:179", "Slicer: Available node group IDs: %v", names)
	if name, labelled := node.Labels[LabelGroup]; labelled {
		klogat.Info(0, "slicer_cloud_provider.go:184", "Slicer: Found slicer/hostgroup label: %s", name)
		for _, group := range p.groups {
			klogat.Info(0, "slicer_cloud_provider.go:186", "Slicer: Comparing hostgroup label '%s' with node group ID '%s'", name, group.Name())
			if group.Name() == name {
				klogat.Info(0, "slicer_cloud_provider.go:188", "Slicer: Matched node %s to node group %s via label", node.Name, group.Name())
				return group
			}
		}
		klogat.Info(0, "slicer_cloud_provider.go:192", "Slicer: No matching node group found for hostgroup label: %s", name)
	} else {
		klogat.Info(0, "slicer_cloud_provider.go:194", "Slicer: Node %s missing slicer/hostgroup label - not a Slicer-managed node", node.Name)
	}
	klogat.Info(0, "slicer_cloud_provider.go:197", "Slicer: No node group found for node %s", node.Name)
	return nil
}

// HasInstance tells whether a node's VM exists: of a server it never does. A daemon that does not answer is no proof of
// absence.
func (p *Provider) HasInstance(ctx context.Context, node *corev1.Node) bool {
	klogat.Info(4, "slicer_cloud_provider.go:203", "Slicer: Checking if node %s has instance in cloud provider", node.Name)
	name, labelled := node.Labels[LabelGroup]
	if !labelled && len(node.Labels) == 0 {
		klogat.Info(4, "slicer_cloud_provider.go:243", "Slicer: Node %s has no labels - treating as non-Slicer node", node.Name)
		return false
	}
	if !labelled {
		klogat.Info(4, "slicer_cloud_provider.go:249", "Slicer: Node %s not managed by Slicer (missing slicer/hostgroup label)", node.Name)
		return false
	}
	klogat.Info(4, "slicer_cloud_provider.go:207", "Slicer: Node %s has slicer/hostgroup label: %s", node.Name, name)
	for _, group := range p.groups {
		if group.Name() == name {
			return group.has(ctx, node)
		}
	}
	klogat.Info(4, "slicer_cloud_provider.go:236", "Slicer: Hostgroup %s not found in managed groups", name)
	return false
}

func (g *Group) has(ctx context.Context, node *corev1.Node) bool {
	klogat.Info(4, "slicer_cloud_provider.go:211", "Slicer: Node %s belongs to managed hostgroup %s", node.Name, g.Name())
	vms, err := g.slicer.Nodes(ctx, g.Name())
	if err != nil {
		klogat.Info(4, "slicer_cloud_provider.go:216", "Slicer: Failed to get nodes for group %s: %v", g.Name(), err)
		return true
	}
	hostname, labelled := node.Labels[LabelHostname]
	for _, vm := range vms {
		if labelled && vm.Hostname == hostname {
			klogat.Info(4, "slicer_cloud_provider.go:227", "Slicer: Confirmed node %s (hostname: %s) exists in Slicer API", node.Name, hostname)
			return true
		}
	}
	klogat.Info(4, "slicer_cloud_provider.go:232", "Slicer: Node %s has slicer label but not found in Slicer API - may have been deleted", node.Name)
	return false
}

// bytesSize writes an amount of memory as people read it, with four significant digits.
func bytesSize(bytes int64) string {
	size, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; size >= 1024 && i < len(units)-1; i++ {
		size /= 1024
	}
	return fmt.Sprintf("%.4g%s", size, units[i])
}

func find(groups []slicerapi.HostGroup, name string) (slicerapi.HostGroup, bool) {
	for _, group := range groups {
		if group.Name == name {
			return group, true
		}
	}
	return slicerapi.HostGroup{}, false
}

// httpClient keeps the original's oddities: no time limits, and a bundle replaces the system's roots and any proxy.
func httpClient(bundle string) (*http.Client, error) {
	if bundle == "" {
		return http.DefaultClient, nil
	}
	pem, err := os.ReadFile(bundle)
	if err != nil {
		return nil, fmt.Errorf("failed to read CA bundle file %s: %w", bundle, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("failed to parse CA bundle from %s", bundle)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, nil
}
