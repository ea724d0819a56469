package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"slicer-k3s.lab/kubernetes/internal/files"
)

// Request makes (or reuses) the key at path and returns a signing request for it: the key never leaves the machine.
func Request(path string) ([]byte, error) {
	text, err := files.ReadOr(path, 0o600, func() ([]byte, error) {
		_, text, err := newKey()
		return text, err
	})
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), err
}

// SignRequest signs the key of a request under the given name; what the request says of itself is ignored.
func (a *Authority) SignRequest(request []byte, leaf Leaf) ([]byte, error) {
	block, _ := pem.Decode(request)
	if block == nil {
		return nil, errors.New("no PEM signing request found")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	return a.Sign(leaf, parsed.PublicKey)
}
