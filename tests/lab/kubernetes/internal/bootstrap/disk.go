// Package bootstrap is what makes a machine a server of its cluster: authorities, keys and passwords, sealed with the
// server token, kept in the datastore and compared with the disk at each start.
package bootstrap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// skew is by how much the disk must be newer to count as newer.
const skew = 3 // seconds

// File is one file of the data, with the time of its last change: by that the newer of two that differ is known.
type File struct {
	Timestamp time.Time
	Content   []byte
}

// Data is the data by the original's names for its files.
type Data map[string]File

// Disk is the data's place in a server's directory.
type Disk struct {
	Dir string
	// Encrypted says that Secrets are encrypted in the datastore: then that key is part of the data.
	Encrypted bool
}

// paths of the files, by name.
func (d Disk) paths() map[string]string {
	paths := map[string]string{
		"ETCDServerCA": "tls/etcd/server-ca.crt", "ETCDServerCAKey": "tls/etcd/server-ca.key",
		"ETCDPeerCA": "tls/etcd/peer-ca.crt", "ETCDPeerCAKey": "tls/etcd/peer-ca.key",
		"ServerCA": "tls/server-ca.crt", "ServerCAKey": "tls/server-ca.key",
		"ClientCA": "tls/client-ca.crt", "ClientCAKey": "tls/client-ca.key",
		"RequestHeaderCA": "tls/request-header-ca.crt", "RequestHeaderCAKey": "tls/request-header-ca.key",
		"ServiceKey": "tls/service.key", "PasswdFile": "cred/passwd", "IPSECKey": "cred/ipsec.psk",
	}
	if d.Encrypted {
		paths["EncryptionConfig"] = "cred/encryption-config.json"
		paths["EncryptionHash"] = "cred/encryption-state.json"
	}
	for name, path := range paths {
		paths[name] = filepath.Join(d.Dir, filepath.FromSlash(path))
	}
	return paths
}

// Read returns what the disk holds.
func (d Disk) Read() (Data, error) {
	data := Data{}
	for name, path := range d.paths() {
		info, err := os.Stat(path)
		if err != nil {
			logrus.Warnf("failed to stat %s: %v", name, err)
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		data[name] = File{Timestamp: info.ModTime(), Content: content}
	}
	return data, nil
}

// Write puts the data on the disk, each file with the time of its last change.
func (d Disk) Write(data Data) error {
	paths := d.paths()
	for name, file := range data {
		path, ok := paths[name]
		if !ok {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("failed to mkdir %s: %w", filepath.Dir(path), err)
		}
		if err := os.WriteFile(path, file.Content, 0o600); err != nil {
			return fmt.Errorf("failed to write to %s: %w", path, err)
		}
		if err := os.Chtimes(path, file.Timestamp, file.Timestamp); err != nil {
			return fmt.Errorf("failed to update modified time on %s: %w", path, err)
		}
	}
	return nil
}

// Founded says whether the disk holds certificates at all.
func (d Disk) Founded() bool {
	for _, dir := range []string{"cred", "tls", "tls/etcd"} {
		entries, err := os.ReadDir(filepath.Join(d.Dir, filepath.FromSlash(dir)))
		if err != nil || len(entries) == 0 {
			return false
		}
	}
	return true
}

// NewerError names files that were changed on this disk after the datastore's copy of them: the process must end.
type NewerError struct{ Paths []string }

func (e *NewerError) Error() string {
	return strings.Join(e.Paths, ", ") + " newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore."
}

// Reconcile brings the disk in line with the data.
func (d Disk) Reconcile(data Data) error {
	if !d.Founded() {
		return d.Write(data)
	}
	outdated, newer, err := d.compare(data)
	switch {
	case err != nil:
		return err
	case len(newer) > 0:
		return &NewerError{Paths: newer}
	case !outdated:
		return nil
	}
	logrus.Warn("Updating bootstrap data on disk from datastore")
	return d.Write(data)
}

// compare says whether any file differs, and which of them are newer on the disk.
func (d Disk) compare(data Data) (outdated bool, newer []string, err error) {
	paths := d.paths()
	for name, file := range data {
		path, ok := paths[name]
		if !ok {
			logrus.Warnf("Unable to lookup path to reconcile %s", name)
			continue
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			logrus.Warn(path + " doesn't exist. continuing...")
			outdated = true
			continue
		} else if err != nil {
			return false, nil, fmt.Errorf("failed to get update status of %s: %w", name, err)
		}
		if bytes.Equal(content, file.Content) {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return false, nil, fmt.Errorf("failed to get update status of %s: %w", name, err)
		}
		outdated = true
		if info.ModTime().Unix()-file.Timestamp.Unix() >= skew {
			newer = append(newer, path)
			continue
		}
		logrus.Warn(path + " will be updated from the datastore.")
	}
	return outdated, newer, nil
}
