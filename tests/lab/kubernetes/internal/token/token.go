// Package token reads and writes the tokens that nodes join with.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	prefix     = "K10"
	hashLength = sha256.Size * 2
)

var bootstrapPattern = regexp.MustCompile(`^([a-z0-9]{6})\.([a-z0-9]{16})$`)

// Token is one parsed token, of whichever form.
type Token struct {
	CAHash   string // empty for the short form: whatever CA the server shows is then believed
	Username string
	Password string
	ID       string // of a bootstrap token
	Secret   string
}

// Parse reads a token; user is who a token without a name of its own stands for.
func Parse(text, user string) (Token, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Token{}, errors.New("token must not be empty")
	}
	t := Token{Username: user}
	credentials := text
	if strings.HasPrefix(text, prefix) {
		hash, rest, found := strings.Cut(text[len(prefix):], "::")
		if !found {
			if len(text)-len(prefix) < hashLength {
				return Token{}, errors.New("invalid token CA hash length")
			}
			return Token{}, errors.New("invalid token format")
		}
		if len(hash) != hashLength {
			return Token{}, errors.New("invalid token CA hash length")
		}
		t.CAHash, credentials = hash, rest
	}
	if match := bootstrapPattern.FindStringSubmatch(credentials); match != nil {
		t.ID, t.Secret = match[1], match[2]
		return t, nil
	}
	name, password, found := strings.Cut(credentials, ":")
	switch {
	case t.CAHash == "":
		t.Password = credentials
	case !found || password == "":
		return Token{}, errors.New("invalid token format")
	default:
		t.Username, t.Password = name, password
	}
	if t.Password == "" {
		return Token{}, errors.New("invalid token format")
	}
	return t, nil
}

// String is the full form.
func (t Token) String() string {
	if t.ID != "" {
		return fmt.Sprintf("%s%s::%s.%s", prefix, t.CAHash, t.ID, t.Secret)
	}
	return Format(t.CAHash, t.Username, t.Password)
}

// Format writes the full form of a password.
func Format(caHash, user, password string) string {
	return fmt.Sprintf("%s%s::%s:%s", prefix, caHash, user, password)
}

// HashCA is the hash by which a token pins the cluster's CA: of the PEM text where it holds one certificate, of the
// root certificate itself where it holds a chain.
func HashCA(bundle []byte) string {
	var last []byte
	count := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			last = block.Bytes
			count++
		}
	}
	if count > 1 {
		return hash(last)
	}
	return hash(bundle)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Random is a new secret of n bytes in hexadecimal digits.
func Random(n int) (string, error) {
	secret := make([]byte, n)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	return hex.EncodeToString(secret), nil
}

// NewBootstrap makes the id and secret of a bootstrap token.
func NewBootstrap() (Token, error) {
	id, err := Random(3)
	if err != nil {
		return Token{}, err
	}
	secret, err := Random(8)
	return Token{ID: id, Secret: secret}, err
}
