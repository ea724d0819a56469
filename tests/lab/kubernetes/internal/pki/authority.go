// Package pki is the cluster's certificate authorities and everything they sign.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/files"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafDays      = 365
	// The environment variable that sets how many days a new certificate is valid.
	//
	// Source: rancher/dynamiclistener@v0.7.5 cert/cert.go, NewSignedCert.
	leafDaysVariable = "CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS"
	// A certificate is made anew at start once it has less than this left, as k3s does.
	renewBefore = 120 * 24 * time.Hour
)

// Authorities are the names, below the tls directory, of what a cluster signs with.
var Authorities = []string{"server-ca", "client-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca"}

// ServiceKey signs the tokens of service accounts.
const ServiceKey = "service.key"

// Authority signs certificates.
type Authority struct {
	PEM         []byte
	certificate *x509.Certificate
	key         crypto.Signer
}

// Ensure makes every authority that is not there yet.
func Ensure(dir string) error {
	for _, name := range Authorities {
		if _, err := os.Stat(filepath.Join(dir, name+".crt")); err == nil {
			continue
		}
		if err := makeAuthority(filepath.Join(dir, name), name); err != nil {
			return err
		}
	}
	_, err := files.ReadOr(filepath.Join(dir, ServiceKey), 0o600, func() ([]byte, error) {
		_, text, err := newKey()
		return text, err
	})
	return err
}

func makeAuthority(path, name string) error {
	key, keyText, err := newKey()
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("k3s-%s@%d", filepath.Base(name), now.Unix())},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := files.Write(path+".key", keyText, 0o600); err != nil {
		return err
	}
	return files.Write(path+".crt", encode(der), 0o644)
}

// Load reads an authority from the tls directory.
func Load(dir, name string) (*Authority, error) {
	text, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return nil, err
	}
	certificate, err := first(text)
	if err != nil {
		return nil, err
	}
	keyText, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyText)
	return &Authority{PEM: text, certificate: certificate, key: key}, err
}

// Leaf describes a certificate to be signed.
type Leaf struct {
	Name   string
	Groups []string
	Hosts  []string
	Server bool
	Client bool
}

func leafLife() time.Duration {
	days := leafDays
	if text := os.Getenv(leafDaysVariable); text != "" {
		if asked, err := strconv.Atoi(text); err == nil {
			days = asked
		} else {
			logrus.Infof("[NewSignedCert] expiration days from ENV (%s) could not be converted to int (falling back to default value: %d)", text, leafDays)
		}
	}
	return time.Duration(days) * 24 * time.Hour
}

// Sign returns the certificate, followed by the authority's own.
func (a *Authority) Sign(leaf Leaf, public crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: leaf.Name, Organization: leaf.Groups},
		NotBefore:    a.certificate.NotBefore,
		NotAfter:     time.Now().Add(leafLife()),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	for _, host := range leaf.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if leaf.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return append(encode(der), a.PEM...), nil
}

// Issue keeps a key and certificate at path (+ .key, .crt), making them anew when they are missing, of another
// authority, near their end, or lack a host.
func (a *Authority) Issue(path string, leaf Leaf) error {
	keyText, err := files.ReadOr(path+".key", 0o600, func() ([]byte, error) {
		_, text, err := newKey()
		return text, err
	})
	if err != nil {
		return err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return err
	}
	if text, err := os.ReadFile(path + ".crt"); err == nil && a.serves(text, leaf) {
		return nil
	}
	text, err := a.Sign(leaf, key.Public())
	if err != nil {
		return err
	}
	return files.Write(path+".crt", text, 0o644)
}

func (a *Authority) serves(text []byte, leaf Leaf) bool {
	certificate, err := first(text)
	if err != nil || certificate.CheckSignatureFrom(a.certificate) != nil || time.Until(certificate.NotAfter) < renewBefore {
		return false
	}
	for _, host := range leaf.Hosts {
		if certificate.VerifyHostname(host) != nil {
			return false
		}
	}
	return certificate.Subject.CommonName == leaf.Name
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM key found")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func first(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM certificate found")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
