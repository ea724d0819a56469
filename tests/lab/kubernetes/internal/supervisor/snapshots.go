package supervisor

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SnapshotRequest is what `k3s etcd-snapshot` asks for.
type SnapshotRequest struct {
	Operation string   `json:"operation"`
	Name      []string `json:"name,omitempty"`
	Dir       string   `json:"dir,omitempty"`
}

// SnapshotResult names the files that were made and removed.
type SnapshotResult struct {
	Created []string `json:"created,omitempty"`
	Deleted []string `json:"deleted,omitempty"`
}

// Snapshot is one file.
type Snapshot struct {
	Name     string    `json:"name"`
	Location string    `json:"location"`
	Size     int64     `json:"size"`
	Created  time.Time `json:"created"`
}

func (s *Supervisor) snapshots(w http.ResponseWriter, r *http.Request) {
	var request SnapshotRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit)).Decode(&request); err != nil {
		refuseQuietly(w, r, "etcd-snapshot", err)
		return
	}
	dir := request.Dir
	if dir == "" {
		dir = s.Config.Text("etcd-snapshot-dir", s.Config.ServerDir("db", "snapshots"))
	}
	answer, err := s.snapshot(r, dir, request)
	if err != nil {
		refuseQuietly(w, r, "etcd-snapshot", err)
		return
	}
	writeJSON(w, answer)
}

func (s *Supervisor) snapshot(r *http.Request, dir string, request SnapshotRequest) (any, error) {
	switch request.Operation {
	case "save":
		member := s.member.Load()
		if member == nil || len(request.Name) != 1 {
			return nil, errors.New("etcd datastore is not started")
		}
		name, err := member.Save(r.Context(), dir, request.Name[0])
		return SnapshotResult{Created: []string{name}}, err
	case "delete":
		return deleteSnapshots(dir, request.Name)
	case "list":
		return listSnapshots(dir)
	}
	return nil, errors.New("invalid snapshot operation")
}

func deleteSnapshots(dir string, names []string) (SnapshotResult, error) {
	result := SnapshotResult{}
	for _, name := range names {
		if name != filepath.Base(name) {
			continue
		}
		switch err := os.Remove(filepath.Join(dir, name)); {
		case err == nil:
			result.Deleted = append(result.Deleted, name)
		case !os.IsNotExist(err):
			return result, err
		}
	}
	return result, nil
}

func listSnapshots(dir string) ([]Snapshot, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	found := []Snapshot{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		found = append(found, Snapshot{Name: entry.Name(), Location: "file://" + filepath.Join(dir, entry.Name()), Size: info.Size(), Created: info.ModTime().UTC()})
	}
	slices.SortFunc(found, func(a, b Snapshot) int { return a.Created.Compare(b.Created) })
	return found, nil
}
