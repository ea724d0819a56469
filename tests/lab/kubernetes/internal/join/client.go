// Package join is how a node talks to the server it joins: it pins the cluster's CA by the token before it trusts it.
package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slicer-k3s.lab/kubernetes/internal/token"
)

const (
	requestLimit  = 10 * time.Second
	responseLimit = 8 << 20
)

// Origin is a server, and what a node has to talk to it with.
type Origin struct {
	URL   string
	Token string
	// User is whom the token stands for, whatever name it has itself.
	User string
	// CA names a file with the cluster's CA; where it is there and the token does not contradict it, the server is not asked for it.
	CA string
	// Certificate and Key name this node's client certificate, shown beside the token where it is there.
	Certificate, Key string
	// Limit is how long a request may take, ten seconds where it is not set.
	Limit time.Duration
}

// Client talks to one server with the credentials of a token.
type Client struct {
	URL   string
	CA    []byte
	Token token.Token
	http  *http.Client
	plain *http.Client
}

// Connect fetches the cluster's CA from the server where it is not known, checks it against the token, and returns a
// client that trusts nothing else.
func Connect(ctx context.Context, from Origin) (*Client, error) {
	parsed, err := token.Parse(from.Token, from.User)
	if err != nil {
		return nil, err
	}
	parsed.Username = from.User
	url := strings.TrimSuffix(from.URL, "/")
	if !strings.HasPrefix(url, "https://") {
		return nil, errors.New("only https:// URLs are supported, invalid scheme: " + url)
	}
	ca := known(from.CA, parsed.CAHash)
	if ca == nil {
		if ca, err = fetchCA(ctx, url); err != nil {
			return nil, err
		}
	}
	hash := token.HashCA(ca)
	if parsed.CAHash != "" && parsed.CAHash != hash {
		return nil, fmt.Errorf("token CA hash does not match the Cluster CA certificate hash: %s != %s", parsed.CAHash, hash)
	}
	parsed.CAHash = hash
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("CA cert validation failed: no certificate in the answer")
	}
	plain := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	certified := plain.Clone()
	certified.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair, err := tls.LoadX509KeyPair(from.Certificate, from.Key); err == nil {
			return &pair, nil
		}
		return &tls.Certificate{}, nil
	}
	return &Client{URL: url, CA: ca, Token: parsed, http: newHTTP(certified, from.Limit), plain: newHTTP(plain, from.Limit)}, nil
}

// known is the CA in a file, unless the token names another one.
func known(path, hash string) []byte {
	ca, err := os.ReadFile(path)
	if err != nil || hash != "" && hash != token.HashCA(ca) {
		return nil
	}
	return ca
}

// fetchCA asks the server for the CA, and for it once more by a connection that trusts nothing but that CA.
func fetchCA(ctx context.Context, url string) ([]byte, error) {
	ca, err := get(ctx, newHTTP(&tls.Config{InsecureSkipVerify: true}, 0), url+"/cacerts") //nolint:gosec // checked just below
	if err != nil {
		return nil, fmt.Errorf("failed to get CA certs: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("CA cert validation failed: no certificate in the answer")
	}
	again, err := get(ctx, newHTTP(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, 0), url+"/cacerts")
	if err != nil {
		return nil, fmt.Errorf("CA cert validation failed: %w", err)
	}
	if !bytes.Equal(ca, again) {
		return nil, errors.New("CA cert validation failed: the server shows two different CA certs")
	}
	return ca, nil
}

// Get fetches a path of the server.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	return c.Send(ctx, http.MethodGet, path, nil, nil)
}

// Send sends a body to a path of the server.
func (c *Client) Send(ctx context.Context, method, path string, header map[string]string, body []byte) ([]byte, error) {
	return c.do(ctx, c.http, method, path, header, body)
}

// SendPlainly is Send without the client certificate.
func (c *Client) SendPlainly(ctx context.Context, method, path string, header map[string]string, body []byte) ([]byte, error) {
	return c.do(ctx, c.plain, method, path, header, body)
}

func (c *Client) do(ctx context.Context, client *http.Client, method, path string, header map[string]string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	if c.Token.ID != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token.ID+"."+c.Token.Secret)
	} else {
		request.SetBasicAuth(c.Token.Username, c.Token.Password)
	}
	return send(client, request)
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return send(client, request)
}

// send returns the body of a success. A refusal that is a Kubernetes Status becomes that Status's error.
func send(client *http.Client, request *http.Request) ([]byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, responseLimit))
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		return body, nil
	}
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" {
		return nil, &apierrors.StatusError{ErrStatus: status}
	}
	return nil, fmt.Errorf("%s: %s", request.URL, response.Status)
}

func newHTTP(config *tls.Config, limit time.Duration) *http.Client {
	if limit == 0 {
		limit = requestLimit
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: requestLimit}, Timeout: limit}
}
