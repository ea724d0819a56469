package balancer

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
)

func serve(t *testing.T, name string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(connection, name)
			_ = connection.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func ask(t *testing.T, address string) string {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	answer, _ := io.ReadAll(connection)
	return string(answer)
}

// An agent keeps its cluster when the server that it joined through is gone, also after its own restart.
func TestFailover(t *testing.T) {
	one, two := serve(t, "one"), serve(t, "two")
	path := filepath.Join(t.TempDir(), "servers.json")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	b, err := Listen(ctx, address, one.Addr().String(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, address); got != "one" {
		t.Fatalf("got %q from the first server", got)
	}
	if err := b.Update([]string{two.Addr().String(), one.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, address); got != "one" {
		t.Errorf("learning of a server moved us to %q", got)
	}
	_ = one.Close()
	if got := ask(t, address); got != "two" {
		t.Errorf("got %q after the first server was gone", got)
	}
	restarted, err := Listen(ctx, "127.0.0.1:0", one.Addr().String(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, server, err := restarted.dial(); err != nil || server != two.Addr().String() {
		t.Errorf("after a restart: %q, %v", server, err)
	}
}
