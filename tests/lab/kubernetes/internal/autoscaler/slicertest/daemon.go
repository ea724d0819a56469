// Package slicertest is a Slicer daemon with only the calls that an autoscaler may make; any other fails the test.
package slicertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Token is what the daemon accepts.
const Token = "lab-token"

// Call is a request that the daemon got.
type Call struct{ Method, Path, Body string }

// Daemon has one host group.
type Daemon struct {
	URL   string
	Group string

	t       *testing.T
	mutex   sync.Mutex
	calls   []Call
	vms     []string
	secrets []string
	next    int
	down    bool
	room    int
}

// Start serves a host group until the test ends.
func Start(t *testing.T, group string) *Daemon {
	t.Helper()
	d := &Daemon{Group: group, t: t, room: 100}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// SetDown makes every call fail, or work again.
func (d *Daemon) SetDown(down bool) { d.mutex.Lock(); defer d.mutex.Unlock(); d.down = down }

// SetRoom lets this many more VMs be made.
func (d *Daemon) SetRoom(room int) { d.mutex.Lock(); defer d.mutex.Unlock(); d.room = room }

// AddVM puts a VM there that nobody asked for through the API.
func (d *Daemon) AddVM(hostname string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.vms = append(d.vms, hostname)
}

// AddSecret stores a secret as somebody else would have.
func (d *Daemon) AddSecret(name string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.secrets = append(d.secrets, name)
}

// VMs lists the host names.
func (d *Daemon) VMs() []string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return append([]string(nil), d.vms...)
}

// Calls lists the requests of a method, oldest first.
func (d *Daemon) Calls(method string) []Call {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var kept []Call
	for _, call := range d.calls {
		if call.Method == method {
			kept = append(kept, call)
		}
	}
	return kept
}

func (d *Daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Error(err)
	}
	d.calls = append(d.calls, Call{r.Method, r.URL.RequestURI(), string(body)})
	if agent := r.Header.Get("User-Agent"); agent != "cluster-autoscaler/dev" {
		d.t.Errorf("user agent %q", agent)
	}
	reply := func(code int, content any) {
		w.WriteHeader(code)
		if err := json.NewEncoder(w).Encode(content); err != nil {
			d.t.Error(err)
		}
	}
	problem := func(code int, text string) { reply(code, map[string]string{"error": text}) }
	nodes := "/hostgroup/" + d.Group + "/nodes"
	switch call := r.Method + " " + r.URL.RequestURI(); {
	case d.down:
		problem(http.StatusInternalServerError, "down")
	case r.Header.Get("Authorization") != "Bearer "+Token:
		problem(http.StatusUnauthorized, "unauthorized")
	case call == "GET /hostgroup":
		reply(http.StatusOK, []map[string]any{{"name": d.Group, "count": 0, "cpus": 2, "ram_bytes": 4 << 30, "arch": "x86_64"}})
	case call == "GET "+nodes:
		list := []map[string]any{}
		for _, vm := range d.vms {
			list = append(list, map[string]any{"hostname": vm, "ip": "192.168.138.2", "created_at": "2026-01-02T03:04:05.678Z", "status": "Running"})
		}
		reply(http.StatusOK, list)
	case call == "POST "+nodes:
		if d.room == 0 {
			problem(http.StatusBadRequest, "no room")
			return
		}
		d.room--
		d.next++
		hostname := fmt.Sprintf("%s-%d", d.Group, d.next)
		d.vms = append(d.vms, hostname)
		reply(http.StatusCreated, map[string]any{"hostname": hostname, "ip": "192.168.138.2/24"})
	case call == "GET /secrets":
		list := []map[string]any{}
		for _, name := range d.secrets {
			list = append(list, map[string]any{"name": name, "size": 3})
		}
		reply(http.StatusOK, list)
	case call == "POST /secrets":
		d.secrets = append(d.secrets, "k3s-token")
		w.WriteHeader(http.StatusCreated)
	case strings.HasPrefix(call, "DELETE "+nodes+"/"):
		gone := strings.TrimPrefix(r.URL.Path, nodes+"/")
		var left []string
		for _, vm := range d.vms {
			if vm != gone {
				left = append(left, vm)
			}
		}
		d.vms = left
		reply(http.StatusOK, map[string]string{"message": "deleted", "disk_removed": "true"})
	default:
		d.t.Errorf("call that no autoscaler makes: %s", call)
		problem(http.StatusNotFound, "not found")
	}
}
