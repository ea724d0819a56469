// Package join is how a node talks to the server it joins: it pins the cluster's CA by the token before it trusts it.
package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"slicer-k3s.lab/kubernetes/internal/token"
)

const (
	requestLimit  = 20 * time.Second
	responseLimit = 8 << 20
)

// Client talks to one server with the credentials of a token.
type Client struct {
	URL   string
	CA    []byte
	Token token.Token
	http  *http.Client
}

// Connect fetches the cluster's CA from the server, checks it against the token, and returns a client that trusts
// nothing else. The token counts as the given user where it names none.
func Connect(ctx context.Context, url, text, user string) (*Client, error) {
	parsed, err := token.Parse(text, user)
	if err != nil {
		return nil, err
	}
	url = strings.TrimSuffix(url, "/")
	if !strings.HasPrefix(url, "https://") {
		return nil, errors.New("only https:// URLs are supported, invalid scheme: " + url)
	}
	ca, err := get(ctx, newHTTP(&tls.Config{InsecureSkipVerify: true}), url+"/cacerts", nil) //nolint:gosec // checked just below
	if err != nil {
		return nil, fmt.Errorf("failed to get CA certs: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("CA cert validation failed: no certificate in the answer")
	}
	client := &Client{URL: url, CA: ca, Token: parsed, http: newHTTP(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})}
	again, err := get(ctx, client.http, url+"/cacerts", nil)
	if err != nil {
		return nil, fmt.Errorf("CA cert validation failed: %w", err)
	}
	if !bytes.Equal(ca, again) {
		return nil, errors.New("CA cert validation failed: the server shows two different CA certs")
	}
	hash := token.HashCA(ca)
	if parsed.CAHash != "" && parsed.CAHash != hash {
		return nil, fmt.Errorf("token CA hash does not match the Cluster CA certificate hash: %s != %s", parsed.CAHash, hash)
	}
	client.Token.CAHash = hash
	return client, nil
}

// Get fetches a path of the server.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil, nil)
}

// Send sends a body to a path of the server.
func (c *Client) Send(ctx context.Context, method, path string, header map[string]string, body []byte) ([]byte, error) {
	return c.do(ctx, method, path, header, body)
}

func (c *Client) do(ctx context.Context, method, path string, header map[string]string, body []byte) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	return send(c.http, request, &c.Token)
}

func get(ctx context.Context, client *http.Client, url string, credentials *token.Token) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return send(client, request, credentials)
}

// StatusError is an answer other than success.
type StatusError struct {
	URL    string
	Status string
	Code   int
	Body   string
}

func (e *StatusError) Error() string {
	if e.Body == "" {
		return e.URL + ": " + e.Status
	}
	return e.URL + ": " + e.Status + ": " + e.Body
}

func send(client *http.Client, request *http.Request, credentials *token.Token) ([]byte, error) {
	if credentials != nil {
		if credentials.ID != "" {
			request.Header.Set("Authorization", "Bearer "+credentials.ID+"."+credentials.Secret)
		} else {
			request.SetBasicAuth(credentials.Username, credentials.Password)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, responseLimit))
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, &StatusError{URL: request.URL.String(), Status: response.Status, Code: response.StatusCode, Body: strings.TrimSpace(string(body))}
	}
	return body, nil
}

func newHTTP(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second}, Timeout: requestLimit}
}
