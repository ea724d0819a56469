// Package provider maps Slicer's host groups and VMs to node groups and nodes of a k3s cluster.
package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/cloudconfig"
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

// Build reads the file and asks every group's daemon for the group; one failure fails all.
func Build(ctx context.Context, path string, client kubernetes.Interface) (*Provider, error) {
	if path == "" {
		return nil, errors.New("No config file provided, please specify it via the --cloud-config flag")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("Could not open cloud provider configuration file %q, error: %w", path, err)
	}
	defer file.Close()
	config, err := cloudconfig.Read(file)
	if err != nil {
		return nil, fmt.Errorf("Failed to parse config, error: %w", err)
	}
	klog.V(1).Infof("Slicer config: k3s-url %s, token of %d characters, %d node groups", config.K3sURL, len(config.K3sToken), len(config.Groups))

	provider := &Provider{}
	for _, section := range config.Groups {
		web, err := httpClient(config.CABundle)
		if err != nil {
			return nil, fmt.Errorf("Failed to create HTTP client with CA bundle for %s: %w", section.Name, err)
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
			return nil, fmt.Errorf("Failed to fetch node groups from URL, error: %w", err)
		}
		if _, found := find(offered, section.Name); !found {
			return nil, fmt.Errorf("Failed to find slicer host group with name %s at %s", section.Name, section.URL)
		}
		instances, err := group.Nodes(ctx)
		if err != nil {
			// VMs that exist are then not counted, so the group may later grow past its maximum.
			klog.Errorf("Failed to get nodes of node group %s: %v", section.Name, err)
		}
		group.target = len(instances)
		klog.V(1).Infof("Node group %s: min %d, max %d, target size %d", section.Name, section.Min, section.Max, group.target)
		provider.groups = append(provider.groups, group)
	}
	return provider, nil
}

// Groups returns all node groups, ordered by name.
func (p *Provider) Groups() []*Group { return p.groups }

// GroupOf returns the group that a node belongs to; control plane nodes belong to none.
func (p *Provider) GroupOf(node *corev1.Node) *Group {
	name, labelled := node.Labels[LabelGroup]
	if !labelled {
		return nil
	}
	for _, group := range p.groups {
		if group.Name() == name {
			return group
		}
	}
	return nil
}

// HasInstance tells whether a node's VM exists. A daemon that does not answer is no proof of absence.
func (p *Provider) HasInstance(ctx context.Context, node *corev1.Node) bool {
	group := p.GroupOf(node)
	if group == nil {
		return false
	}
	vms, err := group.slicer.Nodes(ctx, group.Name())
	if err != nil {
		klog.Errorf("Failed to check cloud provider has instance for %s: %v", node.Name, err)
		return true
	}
	for _, vm := range vms {
		if vm.Hostname == node.Labels[LabelHostname] {
			return true
		}
	}
	return false
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
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificates in %s", bundle)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, nil
}

// nodesByHostname maps VM host names to the Nodes of a group; of two with the same name the last wins.
func nodesByHostname(ctx context.Context, client kubernetes.Interface, group string) (map[string]*corev1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: LabelGroup + "=" + group})
	if err != nil {
		return nil, err
	}
	byHostname := map[string]*corev1.Node{}
	for i := range list.Items {
		byHostname[list.Items[i].Labels[LabelHostname]] = &list.Items[i]
	}
	return byHostname, nil
}
