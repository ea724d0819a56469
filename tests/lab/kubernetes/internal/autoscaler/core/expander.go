package core

import (
	"errors"
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// option is a way to help pending pods: so many nodes of one group.
type option struct {
	group *groupView
	nodes int
	pods  []*corev1.Pod
}

// expander picks among options, of which there is at least one.
type expander func(options []option) option

// newExpander returns the expander of a name. Prices are unknown to this provider, so price is refused.
func newExpander(name string, priority *byPriority) (expander, error) {
	switch name {
	case "random":
		return pickRandom, nil
	case "most-pods":
		return func(options []option) option {
			return pickRandom(best(options, func(o option) float64 { return -float64(len(o.pods)) }))
		}, nil
	case "least-waste":
		return func(options []option) option { return pickRandom(best(options, waste)) }, nil
	case "priority":
		return priority.choose, nil
	case "price":
		return nil, errors.New("Couldn't access cloud provider pricing for price expander: Not implemented")
	}
	return nil, fmt.Errorf("Expander %s not supported", name)
}

func pickRandom(options []option) option { return options[rand.IntN(len(options))] }

// best keeps the options of lowest cost.
func best(options []option, cost func(option) float64) []option {
	var kept []option
	var lowest float64
	for _, candidate := range options {
		switch price := cost(candidate); {
		case kept == nil || price < lowest:
			kept, lowest = []option{candidate}, price
		case price == lowest:
			kept = append(kept, candidate)
		}
	}
	return kept
}

// waste is the unused share of CPU plus that of memory.
func waste(o option) float64 {
	unused := func(name corev1.ResourceName) float64 {
		available := float64(amountOf(name, o.group.template.node.Status.Capacity)) * float64(o.nodes)
		if available <= 0 {
			return 0
		}
		wanted := 0.0
		for _, pod := range o.pods {
			wanted += float64(requests(pod)[name])
		}
		return (available - wanted) / available
	}
	cpu, memory := unused(corev1.ResourceCPU), unused(corev1.ResourceMemory)
	klogat.Info(1, "waste.go:56", "Expanding Node Group %s would waste %0.2f%% CPU, %0.2f%% Memory, %0.2f%% Blended\n",
		o.group.name(), cpu*100, memory*100, (cpu+memory)*50)
	return cpu + memory
}

func (g *groupView) name() string {
	if g.Group == nil {
		return ""
	}
	return g.Name()
}
