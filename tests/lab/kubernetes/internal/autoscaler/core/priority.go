package core

import (
	"context"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"
)

// priorityConfigMap holds, below the key priorities, what the priority expander goes by.
const (
	priorityConfigMap = "cluster-autoscaler-priority-expander"
	prioritiesKey     = "priorities"
)

// byPriority reads the ConfigMap at each choice. Without a readable one nothing grows; a group that no pattern matches
// grows only where none of the options is matched.
type byPriority struct {
	client    kubernetes.Interface
	namespace string
	warn      func(reason, format string, args ...any)
}

func (p *byPriority) choose(options []option) (option, bool) {
	priorities, err := p.read()
	if err != nil {
		klog.Warningf("Priority expander: %v", err)
		p.warn("PriorityConfigMapInvalid", "Priority expander: %v", err)
		return option{}, false
	}
	var kept []option
	highest := -1
	for _, candidate := range options {
		switch own := priorityOf(candidate.group.Name(), priorities); {
		case own < 0:
			p.warn("PriorityConfigMapNotMatchedGroup", "Priority expander: node group %s not found in priority expander configuration. The group won't be used.", candidate.group.Name())
		case own > highest:
			kept, highest = []option{candidate}, own
		case own == highest:
			kept = append(kept, candidate)
		}
	}
	if len(kept) == 0 {
		p.warn("PriorityConfigMapNoGroupMatched", "Priority expander: no priorities info found for any of the expansion options. Falling back to random choice.")
		kept = options
	}
	return pickRandom(kept), true
}

func (p *byPriority) read() (map[int][]*regexp.Regexp, error) {
	// The original watches them, so it needs the permission to list.
	named := metav1.ListOptions{FieldSelector: "metadata.name=" + priorityConfigMap}
	found, err := p.client.CoreV1().ConfigMaps(p.namespace).List(context.Background(), named)
	if err != nil {
		return nil, fmt.Errorf("config map %s cannot be read: %w", priorityConfigMap, err)
	}
	for _, one := range found.Items {
		if one.Name == priorityConfigMap {
			return parsePriorities(&one)
		}
	}
	return nil, fmt.Errorf("config map %s not found", priorityConfigMap)
}

func parsePriorities(from *corev1.ConfigMap) (map[int][]*regexp.Regexp, error) {
	text, found := from.Data[prioritiesKey]
	if !found || text == "" {
		return nil, fmt.Errorf("config map %s doesn't contain %s", priorityConfigMap, prioritiesKey)
	}
	var written map[int][]string
	if err := yaml.Unmarshal([]byte(text), &written); err != nil {
		return nil, fmt.Errorf("can't parse YAML with priorities: %w", err)
	}
	priorities := map[int][]*regexp.Regexp{}
	for priority, patterns := range written {
		for _, pattern := range patterns {
			compiled, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fmt.Errorf("can't compile rule %s of priority %d: %w", pattern, priority, err)
			}
			priorities[priority] = append(priorities[priority], compiled)
		}
	}
	return priorities, nil
}

// priorityOf is the highest priority with a pattern for this group, or -1.
func priorityOf(group string, priorities map[int][]*regexp.Regexp) int {
	highest := -1
	for priority, patterns := range priorities {
		for _, pattern := range patterns {
			if priority > highest && pattern.MatchString(group) {
				highest = priority
			}
		}
	}
	return highest
}
