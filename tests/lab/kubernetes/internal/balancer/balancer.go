// Package balancer is an agent's own way to the servers: a TCP balancer on loopback that knows all of them.
package balancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/files"
)

const dialLimit = 5 * time.Second

// A server that vanishes without a word must not hold on to connections for a quarter of an hour.
var dialer = net.Dialer{Timeout: dialLimit, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}

// Balancer passes connections on to the first server that takes them.
type Balancer struct {
	path    string
	mutex   sync.Mutex
	servers []string
	open    map[string][]net.Conn
}

type saved struct {
	ServerURL       string
	ServerAddresses []string
}

// Listen starts the balancer: with the servers it knew last time, if any, else with the one given.
func Listen(ctx context.Context, address, first, path string) (*Balancer, error) {
	b := &Balancer{path: path, open: map[string][]net.Conn{}}
	if content, err := os.ReadFile(path); err == nil {
		var last saved
		if json.Unmarshal(content, &last) == nil {
			b.servers = last.ServerAddresses
		}
	}
	if !slices.Contains(b.servers, first) {
		b.servers = append([]string{first}, b.servers...)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	logrus.Infof("Running load balancer %s -> %v", address, b.servers)
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				time.Sleep(100 * time.Millisecond)
				continue
			}
			go b.serve(connection)
		}
	}()
	return b, nil
}

// Update replaces the servers; connections to those that are gone are closed.
func (b *Balancer) Update(servers []string) error {
	if len(servers) == 0 {
		return nil
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	// Keep the order in use: a change of the list must not move every connection.
	next := slices.DeleteFunc(slices.Clone(b.servers), func(s string) bool { return !slices.Contains(servers, s) })
	for _, server := range servers {
		if !slices.Contains(next, server) {
			next = append(next, server)
		}
	}
	if slices.Equal(next, b.servers) {
		return nil
	}
	for _, gone := range b.servers {
		if !slices.Contains(next, gone) {
			for _, connection := range b.open[gone] {
				_ = connection.Close()
			}
		}
	}
	logrus.Infof("Updated load balancer server addresses -> %v", next)
	b.servers = next
	content, err := json.Marshal(saved{ServerURL: "https://" + next[0], ServerAddresses: next})
	if err != nil {
		return err
	}
	return files.Write(b.path, content, 0o600)
}

func (b *Balancer) serve(client net.Conn) {
	defer client.Close()
	server, address, err := b.dial()
	if err != nil {
		logrus.Debugf("load balancer: %v", err)
		return
	}
	defer server.Close()
	b.mutex.Lock()
	b.open[address] = append(b.open[address], server)
	b.mutex.Unlock()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{server, client}, {client, server}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	b.mutex.Lock()
	b.open[address] = slices.DeleteFunc(b.open[address], func(c net.Conn) bool { return c == server })
	b.mutex.Unlock()
}

// dial tries the servers in order; one that does not answer goes to the end.
func (b *Balancer) dial() (net.Conn, string, error) {
	b.mutex.Lock()
	servers := slices.Clone(b.servers)
	b.mutex.Unlock()
	var last error
	for _, server := range servers {
		connection, err := dialer.Dial("tcp", server)
		if err == nil {
			return connection, server, nil
		}
		last = err
		b.demote(server)
	}
	return nil, "", fmt.Errorf("all servers failed: %w", last)
}

func (b *Balancer) demote(server string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if at := slices.Index(b.servers, server); at >= 0 {
		b.servers = append(slices.Delete(slices.Clone(b.servers), at, at+1), server)
	}
}
