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

// Read parses and checks a cloud-config, in the original's order and words. Unknown sections and keys are errors.
func Read(from io.Reader) (*Config, error) {
	var parsed file
	if err := gcfg.ReadInto(&parsed, from); err != nil {
		return nil, err
	}
	global := parsed.Global
	defaultMin, defaultMax, err := sizes(global.DefaultMinSize, global.DefaultMaxSize, fallbackMin, fallbackMax)
	if err != nil {
		return nil, fmt.Errorf("cannot get default size values in global section: %w", err)
	}
	config := &Config{K3sURL: global.K3sURL, K3sToken: global.K3sToken, CABundle: global.CABundle}
	for _, name := range slices.Sorted(maps.Keys(parsed.NodeGroup)) {
		group := parsed.NodeGroup[name]
		minimum, maximum, err := sizes(group.MinSize, group.MaxSize, defaultMin, defaultMax)
		if err != nil {
			return nil, fmt.Errorf("cannot get size values for node group %q: %w", name, err)
		}
		config.Groups = append(config.Groups, Group{
			Name: name, URL: group.SlicerURL, Token: group.SlicerToken, Min: minimum, Max: maximum,
		})
	}
	if global.K3sURL == "" {
		return nil, errors.New("K3S URL not configured, nodes may not be able to join the cluster")
	}
	if global.K3sToken == "" {
		return nil, errors.New("K3S token not configured, nodes may not be able to join the cluster")
	}
	return config, nil
}

// sizes reads both bounds, of which an empty one is the fallback's.
func sizes(least, most string, fallbackMin, fallbackMax int) (minimum, maximum int, err error) {
	minimum, err = size(least, fallbackMin, "min")
	if err != nil {
		return 0, 0, err
	}
	maximum, err = size(most, fallbackMax, "max")
	if err != nil {
		return 0, 0, err
	}
	if minimum > maximum {
		return 0, 0, fmt.Errorf("min size for a node group must be less than its max size (got min: %d, max: %d)", minimum, maximum)
	}
	return minimum, maximum, nil
}

func size(text string, fallback int, which string) (int, error) {
	if text == "" {
		return fallback, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("could not parse %s size for node group: %w", which, err)
	}
	return number, nil
}
