package token

import (
	"strings"
	"testing"
)

const hash64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Every form that people paste must be read, and named wrong in the words that they search for.
func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		text, user string
		want       Token
		err        string
	}{
		"short":          {"secret", "node", Token{Username: "node", Password: "secret"}, ""},
		"short colon":    {"a:b", "node", Token{Username: "node", Password: "a:b"}, ""},
		"full":           {"K10" + hash64 + "::server:secret\n", "node", Token{CAHash: hash64, Username: "server", Password: "secret"}, ""},
		"bootstrap":      {"abcdef.0123456789abcdef", "node", Token{Username: "node", ID: "abcdef", Secret: "0123456789abcdef"}, ""},
		"full bootstrap": {"K10" + hash64 + "::abcdef.0123456789abcdef", "node", Token{CAHash: hash64, Username: "node", ID: "abcdef", Secret: "0123456789abcdef"}, ""},
		"empty":          {" \n", "node", Token{}, "token must not be empty"},
		"short hash":     {"K10abc::server:secret", "node", Token{}, "invalid token CA hash length"},
		"no separator":   {"K10" + hash64 + "server:secret", "node", Token{}, "invalid token format"},
		"no password":    {"K10" + hash64 + "::server:", "node", Token{}, "invalid token format"},
		"no user":        {"K10" + hash64 + "::secret", "node", Token{}, "invalid token format"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(test.text, test.user)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Fatalf("%+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// A token that is written must be read back as the same one: agents get what servers print.
func TestRoundTrip(t *testing.T) {
	for _, text := range []string{"K10" + hash64 + "::node:secret", "K10" + hash64 + "::abcdef.0123456789abcdef"} {
		parsed, err := Parse(text, "server")
		if err != nil || parsed.String() != text {
			t.Fatalf("%q became %q, %v", text, parsed, err)
		}
	}
}

// The hash of one certificate is that of its text; of a chain, that of its root alone, however the text is laid out.
func TestHashCA(t *testing.T) {
	one := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	root := "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
	if HashCA([]byte(one)) == HashCA([]byte(one+"\n")) {
		t.Error("the text of a single certificate must be hashed as it is")
	}
	if HashCA([]byte(one+root)) != HashCA([]byte(one+"\n\n"+root)) {
		t.Error("a chain must be hashed by its root")
	}
}

func TestNewBootstrap(t *testing.T) {
	fresh, err := NewBootstrap()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(strings.Join([]string{fresh.ID, fresh.Secret}, "."), "")
	if err != nil || again.ID != fresh.ID || again.Secret != fresh.Secret {
		t.Fatalf("%+v is read as %+v, %v", fresh, again, err)
	}
}
