package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

// A restart must keep certificates (their holders pin them) and yet follow new host names.
func TestIssue(t *testing.T) {
	dir := t.TempDir()
	if err := Ensure(dir); err != nil {
		t.Fatal(err)
	}
	authority, err := Load(dir, "server-ca")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "leaf")
	issue := func(hosts ...string) string {
		if err := authority.Issue(path, Leaf{Name: "leaf", Hosts: hosts, Server: true}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path + ".crt")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := issue("192.0.2.1", "name")
	if issue("192.0.2.1", "name") != first {
		t.Error("an unchanged certificate was made anew")
	}
	if issue("192.0.2.1", "name", "more") == first {
		t.Error("a new host name was not taken in")
	}
	pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "more"}); err != nil {
		t.Error(err)
	}
	if err := Ensure(dir); err != nil {
		t.Fatal(err)
	}
	if again, err := Load(dir, "server-ca"); err != nil || string(again.PEM) != string(authority.PEM) {
		t.Error("an authority was replaced")
	}
}

// Whatever a signing request says of itself, the server alone decides whom it names.
func TestSignRequest(t *testing.T) {
	dir := t.TempDir()
	if err := Ensure(dir); err != nil {
		t.Fatal(err)
	}
	authority, err := Load(dir, "client-ca")
	if err != nil {
		t.Fatal(err)
	}
	request, err := Request(filepath.Join(dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := authority.SignRequest(request, Leaf{Name: "system:node:n", Groups: []string{"system:nodes"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	if certificate, err := first(text); err != nil || certificate.Subject.CommonName != "system:node:n" || certificate.Subject.Organization[0] != "system:nodes" {
		t.Errorf("%v, %v", certificate.Subject, err)
	}
	if _, err := authority.SignRequest([]byte("no request"), Leaf{}); err == nil {
		t.Error("nonsense was signed")
	}
}
