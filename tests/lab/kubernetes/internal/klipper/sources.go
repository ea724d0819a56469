package klipper

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apiServerMark stands in a chart's address for the API server that the pod talks to.
const apiServerMark = "%{KUBERNETES_API}%"

// chartContent unpacks a chart that came with the job; empty if none did.
func (j *Job) chartContent() (string, error) {
	encoded, err := os.ReadFile(filepath.Join(j.ChartDir, j.Name+".tgz.base64"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	archive, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return "", fmt.Errorf("chartContent is no base64: %w", err)
	}
	file := filepath.Join(j.TempDir, j.Name+".tgz")
	return file, os.WriteFile(file, archive, 0o600)
}

func (j *Job) addRepo(transport []string) error {
	args := append([]string{"repo", "add", j.Name, j.Repo, "--force-update"}, transport...)
	username, password, err := j.credentials()
	if err != nil {
		return err
	}
	if username != "" {
		args = append(args, "--username", username, "--password-stdin")
	}
	if err := j.helm(password, args...); err != nil {
		return err
	}
	return j.helm("", "repo", "update", j.Name)
}

func (j *Job) login(chart string) error {
	username, password, err := j.credentials()
	if err != nil || username == "" {
		return err
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(chart, "oci://"), "/")
	return j.helm(password, "registry", "login", host, "--username", username, "--password-stdin")
}

func (j *Job) credentials() (username, password string, err error) {
	read := func(name string) string {
		content, readErr := os.ReadFile(filepath.Join(j.AuthDir, name))
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = readErr
		}
		return strings.TrimSpace(string(content))
	}
	return read("username"), read("password"), err
}

// transport is how to reach a repository: whom to trust, and as whom.
func (j *Job) transport() ([]string, error) {
	var args []string
	bundle, err := j.bundle()
	if err != nil {
		return nil, err
	}
	if bundle != "" {
		args = append(args, "--ca-file", bundle)
	}
	certificate, key := filepath.Join(j.AuthDir, "tls.crt"), filepath.Join(j.AuthDir, "tls.key")
	if exists(certificate) && exists(key) {
		args = append(args, "--cert-file", certificate, "--key-file", key)
	}
	if j.InsecureTLS {
		args = append(args, "--insecure-skip-tls-verify")
	}
	if j.PassCredentials {
		args = append(args, "--pass-credentials")
	}
	return args, nil
}

// bundle joins the certificates that the chart names, inline or by config map; helm takes one file.
func (j *Job) bundle() (string, error) {
	files, err := filepath.Glob(filepath.Join(j.CAFilesDir, "*"))
	if err != nil {
		return "", err
	}
	files = slices.DeleteFunc(files, func(file string) bool {
		return strings.HasPrefix(filepath.Base(file), ".")
	})
	slices.Sort(files)
	if inline := filepath.Join(j.ConfigDir, "ca-file.pem"); exists(inline) {
		files = append(files, inline)
	}
	if len(files) == 0 {
		return "", nil
	}
	var joined []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		joined = append(append(joined, content...), '\n')
	}
	bundle := filepath.Join(j.TempDir, "ca-file.pem")
	return bundle, os.WriteFile(bundle, joined, 0o600)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
