// Package cloudconfig reads the autoscaler's cloud-config file, whose grammar is git's, not TOML.
package cloudconfig

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"gopkg.in/gcfg.v1"
)

// What counts when neither the group nor [global] says otherwise.
const (
	fallbackMin = 0
	fallbackMax = 8
)

// Config is a file that passed all checks.
type Config struct {
	K3sURL, K3sToken, CABundle string
	Groups                     []Group
}

// Group is one [nodegroup "name"] section.
type Group struct {
	Name, URL, Token string
	Min, Max         int
}

type file struct {
	Global struct {
		K3sURL         string `gcfg:"k3s-url"`
		K3sToken       string `gcfg:"k3s-token"`
		CABundle       string `gcfg:"ca-bundle"`
		DefaultMinSize string `gcfg:"default-min-size"`
		DefaultMaxSize string `gcfg:"default-max-size"`
	} `gcfg:"global"`
	NodeGroup map[string]*section `gcfg:"nodegroup"`
}

type section struct {
	SlicerURL   string `gcfg:"slicer-url"`
	SlicerToken string `gcfg:"slicer-token"`
	MinSize     string `gcfg:"min-size"`
	MaxSize     string `gcfg:"max-size"`
	// Arch is accepted and has no effect: templates take what the daemon tells.
	Arch string `gcfg:"arch"`
}

// Read parses and checks a cloud-config. Unknown sections and keys are errors.
func Read(from io.Reader) (*Config, error) {
	var parsed file
	if err := gcfg.ReadInto(&parsed, from); err != nil {
		return nil, err
	}
	global := parsed.Global
	if global.K3sURL == "" {
		return nil, errors.New("k3s-url is required in the [global] section")
	}
	if global.K3sToken == "" {
		return nil, errors.New("k3s-token is required in the [global] section")
	}
	defaultMin, err := size(global.DefaultMinSize, fallbackMin, "default-min-size")
	if err != nil {
		return nil, err
	}
	defaultMax, err := size(global.DefaultMaxSize, fallbackMax, "default-max-size")
	if err != nil {
		return nil, err
	}
	if defaultMin > defaultMax {
		return nil, fmt.Errorf("default-min-size %d is greater than default-max-size %d", defaultMin, defaultMax)
	}
	config := &Config{K3sURL: global.K3sURL, K3sToken: global.K3sToken, CABundle: global.CABundle}
	for _, name := range slices.Sorted(maps.Keys(parsed.NodeGroup)) {
		group, err := parsed.NodeGroup[name].group(name, defaultMin, defaultMax)
		if err != nil {
			return nil, err
		}
		config.Groups = append(config.Groups, group)
	}
	return config, nil
}

func (s *section) group(name string, defaultMin, defaultMax int) (Group, error) {
	minimum, err := size(s.MinSize, defaultMin, fmt.Sprintf("min-size of nodegroup %q", name))
	if err != nil {
		return Group{}, err
	}
	maximum, err := size(s.MaxSize, defaultMax, fmt.Sprintf("max-size of nodegroup %q", name))
	if err != nil {
		return Group{}, err
	}
	if minimum > maximum {
		return Group{}, fmt.Errorf("min-size %d of nodegroup %q is greater than its max-size %d", minimum, name, maximum)
	}
	return Group{Name: name, URL: s.SlicerURL, Token: s.SlicerToken, Min: minimum, Max: maximum}, nil
}

func size(text string, fallback int, what string) (int, error) {
	if text == "" {
		return fallback, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return number, nil
}
