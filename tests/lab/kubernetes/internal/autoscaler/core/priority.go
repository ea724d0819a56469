package core

import (
	"context"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/yaml"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/klogat"
)

// priorityConfigMap holds, below the key priorities, what the priority expander goes by.
const (
	priorityConfigMap = "cluster-autoscaler-priority-expander"
	prioritiesKey     = "priorities"
)

// byPriority reads the ConfigMap at each choice. Without a readable one the choice is left to chance; a group that no
// pattern matches grows only where none of the options is matched.
type byPriority struct {
	client    kubernetes.Interface
	namespace string
	recorder  record.EventRecorder
}

func (p *byPriority) choose(options []option) option {
	from, priorities, err := p.read()
	if err != nil {
		return pickRandom(options)
	}
	var kept []option
	highest := -1
	for _, candidate := range options {
		switch own := priorityOf(candidate.group.Name(), priorities); {
		case own < 0:
			p.warn(from, "PriorityConfigMapNotMatchedGroup", fmt.Sprintf(
				"Priority expander: node group %s not found in priority expander configuration. The group won't be used.", candidate.group.Name()))
		case own > highest:
			kept, highest = []option{candidate}, own
		case own == highest:
			kept = append(kept, candidate)
		}
	}
	if len(kept) == 0 {
		p.warn(from, "PriorityConfigMapNoGroupMatched", "Priority expander: no priorities info found for any of the expansion options. No options filtered.")
		return pickRandom(options)
	}
	for _, one := range kept {
		klogat.Info(2, "priority.go:163", "priority expander: %s chosen as the highest available", one.group.Name())
	}
	return pickRandom(kept)
}

func (p *byPriority) warn(about *corev1.ConfigMap, reason, words string) {
	p.recorder.Event(about, corev1.EventTypeWarning, reason, words)
	klogat.Warning("priority.go:87", "%s", words)
}

func (p *byPriority) read() (*corev1.ConfigMap, map[int][]*regexp.Regexp, error) {
	// The original watches them, so it needs the permission to list.
	named := metav1.ListOptions{FieldSelector: "metadata.name=" + priorityConfigMap}
	found, err := p.client.CoreV1().ConfigMaps(p.namespace).List(context.Background(), named)
	if err != nil {
		return nil, nil, fmt.Errorf("config map %s cannot be read: %w", priorityConfigMap, err)
	}
	for i := range found.Items {
		one := &found.Items[i]
		if one.Name != priorityConfigMap {
			continue
		}
		text, written := one.Data[prioritiesKey]
		if !written {
			err := fmt.Errorf("Wrong configmap for priority expander, doesn't contain %s key. Ignoring update.", prioritiesKey)
			p.warn(one, "PriorityConfigMapInvalid", err.Error())
			return nil, nil, err
		}
		priorities, err := parsePriorities(text)
		if err != nil {
			p.warn(one, "PriorityConfigMapInvalid", fmt.Sprintf("Wrong configuration for priority expander: %v. Ignoring update.", err))
		}
		return one, priorities, err
	}
	return nil, nil, fmt.Errorf("config map %s not found", priorityConfigMap)
}

func parsePriorities(text string) (map[int][]*regexp.Regexp, error) {
	if text == "" {
		return nil, fmt.Errorf("priority configuration in %s configmap is empty; please provide valid configuration", priorityConfigMap)
	}
	var written map[int][]string
	if err := yaml.Unmarshal([]byte(text), &written); err != nil {
		return nil, fmt.Errorf("Can't parse YAML with priorities in the configmap: %w", err)
	}
	priorities := map[int][]*regexp.Regexp{}
	for priority, patterns := range written {
		for _, pattern := range patterns {
			compiled, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fmt.Errorf("Can't compile regexp rule for priority %d and rule %s: %w", priority, pattern, err)
			}
			priorities[priority] = append(priorities[priority], compiled)
		}
	}
	klogat.Info(4, "priority.go:114", "Successfully loaded priority configuration from configmap.")
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
