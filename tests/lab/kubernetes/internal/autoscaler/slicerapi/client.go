// Package slicerapi makes the six calls to Slicer's REST API that an autoscaler needs, and no other.
package slicerapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// UserAgent is what every request presents itself as.
const UserAgent = "cluster-autoscaler/dev"

// bodyLimit bounds what is read of a reply: it comes from a machine that may be anything.
const bodyLimit = 16 << 20

// Client talks to one Slicer daemon.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// HostGroup is what the daemon tells of a group of its VMs.
type HostGroup struct {
	Name     string `json:"name"`
	Count    int    `json:"count"`
	RAMBytes int64  `json:"ram_bytes"`
	CPUs     int    `json:"cpus"`
	Arch     string `json:"arch"`
}

// Node is one VM. A creation time that does not parse makes the whole list unreadable, as with Slicer's own client.
type Node struct {
	Hostname  string    `json:"hostname"`
	IP        string    `json:"ip"`
	CreatedAt time.Time `json:"created_at"`
	Arch      string    `json:"arch"`
	Status    string    `json:"status"`
}

// Secret is the part of a secret's listing that matters: values are never readable.
type Secret struct {
	Name string `json:"name"`
}

// CreateNode asks for one VM of the group's own size.
type CreateNode struct {
	Userdata string   `json:"userdata,omitempty"`
	Secrets  []string `json:"secrets,omitempty"`
}

// CreatedNode is the reply to CreateNode.
type CreatedNode struct {
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
}

type createSecret struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// New returns a client of the daemon at base, which may have a path of its own.
func New(base, token string, client *http.Client) *Client {
	return &Client{base: base, token: token, http: client}
}

// HostGroups lists the daemon's groups.
func (c *Client) HostGroups(ctx context.Context) ([]HostGroup, error) {
	var groups []HostGroup
	return groups, c.call(ctx, http.MethodGet, "hostgroup", "", nil, &groups)
}

// Nodes lists the VMs of a group.
func (c *Client) Nodes(ctx context.Context, group string) ([]Node, error) {
	var nodes []Node
	return nodes, c.call(ctx, http.MethodGet, "hostgroup/"+url.PathEscape(group)+"/nodes", "failed to fetch nodes", nil, &nodes)
}

// CreateNode makes a VM and does not wait for it.
func (c *Client) CreateNode(ctx context.Context, group string, node CreateNode) (CreatedNode, error) {
	var created CreatedNode
	return created, c.call(ctx, http.MethodPost, "hostgroup/"+url.PathEscape(group)+"/nodes", "failed to create node", node, &created)
}

// DeleteNode removes a VM.
func (c *Client) DeleteNode(ctx context.Context, group, hostname string) error {
	return c.call(ctx, http.MethodDelete, "hostgroup/"+url.PathEscape(group)+"/nodes/"+url.PathEscape(hostname), "failed to delete node", nil, nil)
}

// Secrets lists the names of the daemon's secrets.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	var secrets []Secret
	return secrets, c.call(ctx, http.MethodGet, "secrets", "failed to list secrets", nil, &secrets)
}

// CreateSecret stores a new secret; StatusError with 409 tells that it exists.
func (c *Client) CreateSecret(ctx context.Context, name, value string) error {
	secret := createSecret{Name: name, Data: base64.StdEncoding.EncodeToString([]byte(value))}
	return c.call(ctx, http.MethodPost, "secrets", "failed to create secret", secret, nil)
}

// StatusError is a reply that is no success, in the words of Slicer's own client.
//
// Source: slicervm/sdk v0.0.19 client.go.
type StatusError struct {
	Code         int
	Status, Body string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("API request failed: %s - %s", e.Status, e.Body)
}

// call makes one request. What says what could not be done where no reply came; a status is told without it.
func (c *Client) call(ctx context.Context, method, where, what string, body, into any) error {
	failed := func(err error) error {
		if what == "" {
			return err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	target, err := url.Parse(c.base)
	if err != nil {
		return failed(fmt.Errorf("invalid base URL: %w", err))
	}
	target = target.JoinPath(strings.Split(where, "/")...)
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return failed(fmt.Errorf("failed to marshal request body: %w", err))
		}
		payload = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), payload)
	if err != nil {
		return failed(fmt.Errorf("failed to create request: %w", err))
	}
	request.Header.Set("User-Agent", UserAgent)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return failed(err)
	}
	defer response.Body.Close()
	// Like the original, which takes what came of a reply that was cut for the whole.
	content, _ := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if response.StatusCode/100 != 2 {
		return &StatusError{Code: response.StatusCode, Status: response.Status, Body: excerpt(content)}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("failed to decode response: %w", err)
	}
	return nil
}

func excerpt(content []byte) string {
	const limit = 300
	text := strings.TrimSpace(string(content))
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
