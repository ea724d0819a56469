package bootstrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the original's key derivation
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	prefix    = "/bootstrap"
	rounds    = 4096
	keyBytes  = 32
	saltBytes = 8
)

// Key is where data sealed with a password is kept.
func Key(password string) string {
	sum := sha256.Sum256([]byte(password))
	return prefix + "/" + hex.EncodeToString(sum[:])[:12]
}

func box(password, salt string) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha1.New, password, []byte(salt), rounds, keyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal encrypts content with a password: salt, colon, nonce and ciphertext in base64.
func Seal(password string, content []byte) ([]byte, error) {
	random := make([]byte, saltBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	salt := hex.EncodeToString(random)
	aead, err := box(password, salt)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	sealed := aead.Seal(nonce, nonce, content, nil)
	return []byte(salt + ":" + base64.StdEncoding.EncodeToString(sealed)), nil
}

// Unseal decrypts what Seal made.
func Unseal(password string, sealed []byte) ([]byte, error) {
	salt, text, found := strings.Cut(string(sealed), ":")
	if !found {
		return nil, errors.New("invalid cipher text, not : delimited")
	}
	aead, err := box(password, salt)
	if err != nil {
		return nil, err
	}
	content, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if len(content) < aead.NonceSize() {
		return nil, fmt.Errorf("invalid cipher text of %d bytes", len(content))
	}
	return aead.Open(nil, content[:aead.NonceSize()], content[aead.NonceSize():], nil)
}
