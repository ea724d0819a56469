package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
)

const (
	sealPrefix = "/bootstrap/"
	sealRounds = 4096
	saltLength = 8
)

var errOtherToken = errors.New("bootstrap data already found and encrypted with different token")

// store is what of the datastore the seal needs.
type store interface {
	List(ctx context.Context, prefix string) (map[string][]byte, error)
	Replace(ctx context.Context, key string, value []byte, gone ...string) error
}

// ensureSealed keeps the cluster's bootstrap data in the datastore, encrypted with the server token: a server that is
// started with another token than the cluster's is found out by it.
func ensureSealed(ctx context.Context, data store, password string, content []byte) error {
	found, err := data.List(ctx, sealPrefix)
	if err != nil {
		return err
	}
	if sealed, ok := found[sealKey(password)]; ok {
		_, err := unseal(password, sealed)
		return err
	}
	if len(found) > 0 {
		return errOtherToken
	}
	sealed, err := seal(password, content)
	if err != nil {
		return err
	}
	return data.Replace(ctx, sealKey(password), sealed)
}

// reseal encrypts the bootstrap data with a new token.
func reseal(ctx context.Context, data store, password string, content []byte) error {
	found, err := data.List(ctx, sealPrefix)
	if err != nil {
		return err
	}
	sealed, err := seal(password, content)
	if err != nil {
		return err
	}
	return data.Replace(ctx, sealKey(password), sealed, slices.Collect(maps.Keys(found))...)
}

func sealKey(password string) string {
	sum := sha256.Sum256([]byte(password))
	return sealPrefix + hex.EncodeToString(sum[:])[:12]
}

func sealCipher(password string, salt []byte) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha256.New, password, salt, sealRounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func seal(password string, content []byte) ([]byte, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	box, err := sealCipher(password, salt)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return box.Seal(slices.Concat(salt, nonce), nonce, content, nil), nil
}

func unseal(password string, sealed []byte) ([]byte, error) {
	if len(sealed) < saltLength {
		return nil, errOtherToken
	}
	box, err := sealCipher(password, sealed[:saltLength])
	if err != nil {
		return nil, err
	}
	rest := sealed[saltLength:]
	if len(rest) < box.NonceSize() {
		return nil, errOtherToken
	}
	content, err := box.Open(nil, rest[:box.NonceSize()], rest[box.NonceSize():], nil)
	if err != nil {
		return nil, errOtherToken
	}
	return content, nil
}
