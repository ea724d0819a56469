// Package nodepassword guards node names: the first to register a name sets a password that later ones must know.
package nodepassword

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	namespace = metav1.NamespaceSystem
	suffix    = ".node-password.k3s"
	field     = "hash"
	rounds    = 15 // log2 of scrypt's N
	keyLength = 64
)

// secretType marks the Secrets of this package.
const secretType corev1.SecretType = "k3s.cattle.io/node-password"

// ErrRejected is the answer to a wrong password.
var ErrRejected = errors.New("hash does not match")

func rejected(node string, err error) error {
	return fmt.Errorf("unable to verify password for node %s: %w", node, err)
}

// SecretName is where a node's hash is kept.
func SecretName(node string) string { return strings.ToLower(node) + suffix }

// Ensure checks the password of a node, or remembers it when the name is new.
func Ensure(ctx context.Context, client kubernetes.Interface, node, password string) error {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, SecretName(node), metav1.GetOptions{})
	if err == nil {
		if err := verify(string(secret.Data[field]), password); err != nil {
			return rejected(node, err)
		}
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	hash, err := newHash(password)
	if err != nil {
		return err
	}
	immutable := true
	secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: SecretName(node), Namespace: namespace},
		Immutable:  &immutable,
		Type:       secretType,
		Data:       map[string][]byte{field: []byte(hash)},
	}
	_, err = client.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return Ensure(ctx, client, node, password)
	}
	return err
}

// Forget makes room for another password.
func Forget(ctx context.Context, client kubernetes.Interface, node string) error {
	return client.CoreV1().Secrets(namespace).Delete(ctx, SecretName(node), metav1.DeleteOptions{})
}

func newHash(password string) (string, error) {
	salt := make([]byte, 8)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	key, err := scrypt.Key([]byte(password), salt, 1<<rounds, 8, 1, keyLength)
	return fmt.Sprintf("$1:%x:%d:8:1:%s", salt, rounds, base64.RawStdEncoding.EncodeToString(key)), err
}

func verify(hash, password string) error {
	var logN, r, p int
	parts := strings.Split(hash, ":")
	if len(parts) != 6 || parts[0] != "$1" {
		return fmt.Errorf("%w: it has an unknown form", ErrRejected)
	}
	if _, err := fmt.Sscanf(strings.Join(parts[2:5], " "), "%d %d %d", &logN, &r, &p); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	salt, err := hex.DecodeString(parts[1])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	key, err := scrypt.Key([]byte(password), salt, 1<<logN, r, p, keyLength)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(base64.RawStdEncoding.EncodeToString(key)), []byte(parts[5])) != 1 {
		return ErrRejected
	}
	return nil
}
