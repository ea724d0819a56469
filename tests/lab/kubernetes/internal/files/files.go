// Package files writes files so that a reader never sees half of one.
package files

import (
	"bytes"
	"os"
	"path/filepath"
)

// Write puts content at path with the given mode, making its directory; a file with that content is left alone.
func Write(path string, content []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return os.Chmod(path, mode)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		return err
	}
	if err := temporary.Chmod(mode); err != nil {
		return err
	}
	if err := temporary.Sync(); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// Link makes path a symbolic link to target, replacing what was there.
func Link(target, path string) error {
	if current, err := os.Readlink(path); err == nil && current == target {
		return nil
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

// ReadOr returns a file's content, or makes it from the function and keeps it.
func ReadOr(path string, mode os.FileMode, make func() ([]byte, error)) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(content)) > 0 {
		return content, nil
	}
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if content, err = make(); err != nil {
		return nil, err
	}
	return content, Write(path, content, mode)
}
