package cloudconfig

import (
	"strings"
	"testing"
)

const global = "[global]\nk3s-url=\"https://192.168.137.2:6443\"\nk3s-token=\"K10a::server:b;c\"\n"

func TestGrammar(t *testing.T) {
	group := "[nodegroup \"k3s-agents-1\"]\nslicer-url=\"http://192.168.138.1:8081\"\n"
	cases := []struct {
		name, text, wrong string
	}{
		{"the manual's file", global + group + "max-size=\"4\"\n", ""},
		{"names of sections and keys in capitals", strings.ToUpper("[global]\n") + "K3S-URL=https://a\nk3s-token=b\n", ""},
		{"TOML section", global + "[nodegroup.a]\n", "illegal character"},
		{"TOML table array", global + "[[nodegroup]]\n", "expected"},
		{"underscore in a key", "[global]\nk3s_url=\"a\"\n", "illegal character"},
		{"unknown key", global + group + "tags=\"x\"\n", "can't store data"},
		{"unknown section", global + "[other]\nkey=\"x\"\n", "can't store data"},
		{"byte order mark", "\ufeff" + global, "illegal character"},
		{"no token", "[global]\nk3s-url=\"https://a\"\n", "K3S token not configured"},
		{"no URL", "[global]\nk3s-token=\"a\"\n", "K3S URL not configured"},
		{"no URL and a bad size", "[global]\ndefault-min-size=\"x\"\n", "in global section: could not parse min size"},
		{"size with a blank", global + group + "max-size=\" 4\"\n", "could not parse max size for node group"},
		{"minimum above maximum", global + group + "min-size=\"5\"\nmax-size=\"4\"\n", "less than its max size (got min: 5, max: 4)"},
		{"minimum above the default maximum", global + group + "min-size=\"9\"\n", "node group \"k3s-agents-1\": min size"},
	}
	for _, c := range cases {
		_, err := Read(strings.NewReader(c.text))
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.wrong))):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.wrong)
		}
	}
}

func TestDefaultsAndMerging(t *testing.T) {
	text := global + "[nodegroup \"a\"]\nslicer-url=\"http://one\"\n" + "[nodegroup \"b\"]\nslicer-token='quoted'\n" +
		"[nodegroup \"a\"]\nslicer-url=\"http://two\"\narch=\"arm64\"\n"
	config, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if config.K3sToken != "K10a::server:b;c" {
		t.Errorf("token %q", config.K3sToken)
	}
	// Two sections of one name collapse into one, which silently loses a host.
	if len(config.Groups) != 2 || config.Groups[0].URL != "http://two" {
		t.Errorf("groups %+v", config.Groups)
	}
	if config.Groups[0].Min != 0 || config.Groups[0].Max != 8 {
		t.Errorf("default sizes %+v", config.Groups[0])
	}
	// Single quotes are no quotes.
	if config.Groups[1].Token != "'quoted'" {
		t.Errorf("token %q", config.Groups[1].Token)
	}
}
