package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func parse(t *testing.T, files map[string]string, command string, args []string, environment map[string]string) (Values, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Parse(command, append([]string{"--config", filepath.Join(dir, "config.yaml")}, args...), func(name string) string { return environment[name] })
}

// The command line wins over the file, the file over the environment; lists are replaced, not joined.
func TestPrecedence(t *testing.T) {
	got, err := parse(t, map[string]string{"config.yaml": "token: file\nnode-name: file\ntls-san: [a, b]\n"}, "server",
		[]string{"--node-name=line", "--tls-san", "c,d"}, map[string]string{"K3S_TOKEN": "environment", "K3S_URL": "https://x:6443"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"token": {"file"}, "node-name": {"line"}, "tls-san": {"c", "d"}, "server": {"https://x:6443"}} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// Drop-ins follow each other by name; `key+` adds to what came before.
func TestDropIns(t *testing.T) {
	got, err := parse(t, map[string]string{
		"config.yaml":             "node-label: [a=1]\nnode-taint: [x=1:NoSchedule]\ntoken: first\n",
		"config.yaml.d/20-b.yaml": "node-label+: [b=2]\ntoken: last\n",
		"config.yaml.d/10-a.yaml": "node-taint: [y=1:NoSchedule]\ntoken: middle\n",
	}, "agent", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"node-label": {"a=1", "b=2"}, "node-taint": {"y=1:NoSchedule"}, "token": {"last"}} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// A flag that k3s does not know is fatal; a key of the file that it does not know is skipped with a warning.
func TestUnknown(t *testing.T) {
	if _, err := parse(t, nil, "server", []string{"--no-such"}, nil); err == nil || err.Error() != "flag provided but not defined: -no-such" {
		t.Errorf("unknown flag: %v", err)
	}
	if _, err := parse(t, nil, "agent", []string{"--cluster-init"}, nil); err == nil {
		t.Error("an agent takes a server's flag")
	}
	if got, err := parse(t, map[string]string{"config.yaml": "no-such: 1\ntoken: t\n"}, "server", nil, nil); err != nil || got.Text("token", "") != "t" {
		t.Errorf("unknown key: %v, %v", got, err)
	}
}

func TestBooleans(t *testing.T) {
	got, err := parse(t, map[string]string{"config.yaml": "cluster-init: true\nwith-node-id: false\n"}, "server", []string{"--secrets-encryption"}, nil)
	if err != nil || !got.Bool("cluster-init") || got.Bool("with-node-id") || !got.Bool("secrets-encryption") {
		t.Errorf("%v, %v", got, err)
	}
}

// Servers must agree on what would tear the cluster apart, and be told in what they do not.
func TestCritical(t *testing.T) {
	base := Values{"node-name": {"n"}, "node-ip": {"192.0.2.1"}, "token": {"t"}}
	with := func(name string, values ...string) *Server {
		changed := Values{}
		for key, value := range base {
			changed[key] = value
		}
		changed[name] = values
		s, err := NewServer(changed)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	reference := with("node-name", "n")
	if reference.Critical.ClusterDNS != "10.43.0.10" || reference.ServiceIP.String() != "10.43.0.1" {
		t.Errorf("defaults: %+v, %s", reference.Critical, reference.ServiceIP)
	}
	for name, value := range map[string]string{"cluster-cidr": "10.44.0.0/16", "secrets-encryption": "true", "flannel-backend": "none", "cluster-domain": "x", "embedded-registry": "true"} {
		if got := with(name, value).Critical.Mismatched(reference.Critical); !slices.Equal(got, []string{name}) {
			t.Errorf("%s=%s: mismatched %v", name, value, got)
		}
	}
	if got := with("disable", "traefik").Critical.Mismatched(reference.Critical); len(got) > 0 {
		t.Errorf("disabling traefik is no critical setting: %v", got)
	}
	if got := with("disable", "servicelb").Critical.Mismatched(reference.Critical); !slices.Equal(got, []string{"disable=servicelb"}) {
		t.Errorf("disabling servicelb: %v", got)
	}
}
