package core

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
)

// option is a way to help pending pods: so many nodes of one group.
type option struct {
	group *groupView
	nodes int
	pods  []*corev1.Pod
}

// expander picks among options, of which there is at least one; false where none of them is to grow.
type expander func(options []option) (option, bool)

// newExpander returns the expander of a name. Prices are unknown to this provider, so price is refused.
func newExpander(name string, priority *byPriority) (expander, error) {
	switch name {
	case "random":
		return always(pickRandom), nil
	case "most-pods":
		return always(func(options []option) option {
			return pickRandom(best(options, func(o option) float64 { return -float64(len(o.pods)) }))
		}), nil
	case "least-waste":
		return always(func(options []option) option { return pickRandom(best(options, waste)) }), nil
	case "priority":
		return priority.choose, nil
	case "price":
		return nil, fmt.Errorf("failed to create expander: price: Not implemented")
	}
	return nil, fmt.Errorf("failed to create expander: expander %s not supported", name)
}

func always(pick func([]option) option) expander {
	return func(options []option) (option, bool) { return pick(options), true }
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
	total := 0.0
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		available := float64(amountOf(name, o.group.template.node.Status.Capacity)) * float64(o.nodes)
		if available <= 0 {
			continue
		}
		wanted := 0.0
		for _, pod := range o.pods {
			wanted += float64(requests(pod)[name])
		}
		total += (available - wanted) / available
	}
	return total
}
