// Package config reads k3s's settings: configuration file and drop-ins, command line and environment, merged by
// k3s's own rules.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/sirupsen/logrus"
	"gopkg.in/yaml.v3"
)

// DefaultFile is where k3s looks for its settings.
const DefaultFile = "/etc/rancher/k3s/config.yaml"

// Values holds every setting that was given, by its long name.
type Values map[string][]string

// Parse merges command line over configuration file over environment for `k3s server` or `k3s agent`.
func Parse(command string, args []string, environment func(string) string) (Values, error) {
	want := server
	if command == "agent" {
		want = agent
	}
	line, err := parseLine(args, want)
	if err != nil {
		return nil, err
	}
	path := DefaultFile
	if given := line["config"]; len(given) > 0 {
		path = given[len(given)-1]
	} else if given := environment("K3S_CONFIG_FILE"); given != "" {
		path = given
	}
	merged, err := readFiles(path, want)
	if err != nil {
		return nil, err
	}
	for name, values := range line {
		merged[name] = values
	}
	for name, f := range flags {
		if _, given := merged[name]; given || f.env == "" || f.role&want == 0 {
			continue
		}
		if value := environment(f.env); value != "" {
			merged[name] = split(f, value)
		}
	}
	return merged, nil
}

// ReadOnly reads the configuration file for a command that takes only some of its keys, and warns of all others.
func ReadOnly(taken []string, environment func(string) string) (Values, error) {
	path := DefaultFile
	if given := environment("K3S_CONFIG_FILE"); given != "" {
		path = given
	}
	values, err := readFiles(path, both)
	for name := range values {
		if !slices.Contains(taken, name) {
			logrus.Warnf("Unknown flag --%s found in config.yaml, skipping\n", name)
			delete(values, name)
		}
	}
	return values, err
}

// parseLine reads `--name=value`, `--name value` and bare booleans; an unknown flag is an error, as in k3s.
func parseLine(args []string, want role) (Values, error) {
	values := Values{}
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			return nil, fmt.Errorf("unexpected argument %q", args[i])
		}
		name, value, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if long, ok := aliases[name]; ok {
			name = long
		}
		f, known := flags[name]
		if !known || f.role&want == 0 {
			return nil, fmt.Errorf("flag provided but not defined: -%s", name)
		}
		switch {
		case joined:
		case f.kind == boolean:
			value = "true"
		case i+1 < len(args):
			i++
			value = args[i]
		default:
			return nil, fmt.Errorf("flag needs an argument: -%s", name)
		}
		if f.kind == list || f.kind == csv {
			values[name] = append(values[name], split(f, value)...)
		} else {
			values[name] = []string{value}
		}
	}
	return values, nil
}

// readFiles reads the configuration file and its drop-ins in alphabetical order. The last file to give a key wins;
// `key+` appends to what the files before it gave.
func readFiles(path string, want role) (Values, error) {
	merged := Values{}
	dropIns, err := filepath.Glob(filepath.Join(path+".d", "*.yaml"))
	if err != nil {
		return nil, err
	}
	more, err := filepath.Glob(filepath.Join(path+".d", "*.yml"))
	if err != nil {
		return nil, err
	}
	dropIns = append(dropIns, more...)
	sort.Strings(dropIns)
	for _, file := range append([]string{path}, dropIns...) {
		content, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := mergeFile(merged, content, want); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return merged, nil
}

func mergeFile(merged Values, content []byte, want role) error {
	entries := map[string]any{}
	if err := yaml.Unmarshal(content, &entries); err != nil {
		return err
	}
	for key, raw := range entries {
		name, appending := strings.CutSuffix(key, "+")
		if long, ok := aliases[name]; ok {
			name = long
		}
		f, known := flags[name]
		if !known {
			// k3s warns of such a key and goes on; only unknown flags of the command line are fatal.
			logrus.Warnf("Unknown flag --%s found in config.yaml, skipping\n", name)
			continue
		}
		if f.role&want == 0 {
			continue
		}
		values := flatten(f, raw)
		if appending && (f.kind == list || f.kind == csv) {
			values = append(merged[name], values...)
		}
		merged[name] = values
	}
	return nil
}

func flatten(f flag, raw any) []string {
	items, ok := raw.([]any)
	if !ok {
		items = []any{raw}
	}
	values := []string{}
	for _, item := range items {
		if item != nil {
			values = append(values, split(f, fmt.Sprint(item))...)
		}
	}
	return values
}

func split(f flag, value string) []string {
	if f.kind != csv {
		return []string{value}
	}
	items := []string{}
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Text returns the last value of a setting, or the fallback.
func (v Values) Text(name, fallback string) string {
	if given := v[name]; len(given) > 0 && given[len(given)-1] != "" {
		return given[len(given)-1]
	}
	return fallback
}

// Bool says whether a boolean setting is on.
func (v Values) Bool(name string) bool {
	return v.Text(name, "false") == "true"
}

// List returns every value of a setting.
func (v Values) List(name string) []string { return v[name] }
