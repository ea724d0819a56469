package klipper

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var now = time.Now

// bundle joins the certificates that the chart names, inline or by config map; helm takes one file.
func (j *Job) bundle() {
	inline := filepath.Join(j.ConfigDir, "ca-file.pem")
	joined := filepath.Join(j.TempDir, "ca-file.pem")
	files, _ := filepath.Glob(filepath.Join(j.CADir, "*")) // The pattern is well formed.
	// A shell's `*` leaves out the names that begin with a dot, which a mounted config map has.
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasPrefix(filepath.Base(file), ".") })
	j.trace.testOne("-f", inline)
	if exists(inline) {
		files = slices.Insert(files, 0, inline)
	}
	for _, file := range files {
		j.trace.command("echo")
		j.trace.command("cat", file)
		if err := appendFile(joined, file); err != nil {
			fmt.Fprintln(j.trace.out, err)
		}
	}
	j.trace.testOne("-f", joined)
	if exists(joined) {
		j.caArgs = []string{"--ca-file", joined}
		j.trace.assign("CA_FILE_ARG", strings.Join(j.caArgs, " "))
	}
}

func appendFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append([]byte("\n"), content...))
	return err
}

// content unpacks a chart that came with the job.
func (j *Job) content() int {
	encoded := filepath.Join(j.ChartDir, j.Name+".tgz.base64")
	archive := filepath.Join(j.TempDir, j.Name+".tgz")
	j.trace.command("helm_content_decode")
	j.trace.command("set", "-e")
	j.trace.assign("ENC_CHART_PATH", encoded)
	j.trace.assign("CHART_PATH", archive)
	j.trace.testOne("! -f", encoded)
	if !exists(encoded) {
		j.trace.command("return")
		return 0
	}
	j.trace.command("base64", "-d", encoded)
	text, err := os.ReadFile(encoded)
	var unpacked []byte
	if err == nil {
		unpacked, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	}
	if err == nil {
		err = os.WriteFile(archive, unpacked, 0o600)
	}
	if err != nil {
		fmt.Fprintln(j.trace.out, "base64:", err)
		return 1
	}
	j.trace.assign("CHART", archive)
	j.trace.command("set", "+e")
	j.Chart = archive
	return 0
}

// repoInit makes the chart's repository known to helm. A chart that is an address needs none.
func (j *Job) repoInit() int {
	j.trace.command("helm_repo_init")
	j.trace.command("grep", "-q", "-e", `https\?://`)
	if strings.Contains(j.Chart, "http://") || strings.Contains(j.Chart, "https://") {
		j.echoQuoted("chart path is a url, skipping repo update")
		if j.run("", "repo", "remove", "stable") != 0 {
			j.trace.command("true")
		}
		j.trace.command("return")
		return 0
	}
	j.trace.line("[[ " + quote(j.Chart) + " == stable/* ]]")
	j.trace.testOne("-n", j.Repo)
	if j.Repo == "" {
		return 0
	}
	name, _, _ := strings.Cut(j.Name, "/")
	stdin, auth := j.credentials()
	args := slices.Concat([]string{"repo", "add"}, j.caArgs, j.insecureArgs, auth, []string{name, j.Repo})
	if status := j.run(stdin, args...); status != 0 {
		return status
	}
	return j.run("", "repo", "update")
}

// credentials are what helm needs to be let in by the repository: a password for its stdin, and arguments.
func (j *Job) credentials() (string, []string) {
	var args []string
	pass := func() {
		j.trace.test(j.PassCredentials, "==", "true")
		if j.PassCredentials == "true" {
			args = append(args, "--pass-credentials")
			j.trace.assign("PASS_CREDENTIALS_ARG", "--pass-credentials")
		}
	}
	username, password := filepath.Join(j.AuthDir, "username"), filepath.Join(j.AuthDir, "password")
	j.trace.testOne("-f", username)
	if exists(username) {
		j.trace.testOne("-f", password)
		if exists(password) {
			pass()
			j.trace.command("cat", password)
			j.trace.sub().command("cat", username)
			name, _ := os.ReadFile(username)
			secret, _ := os.ReadFile(password)
			return string(secret), append(args, "--username", strings.TrimRight(string(name), "\n"), "--password-stdin")
		}
	}
	certificate, key := filepath.Join(j.AuthDir, "tls.crt"), filepath.Join(j.AuthDir, "tls.key")
	j.trace.testOne("-f", certificate)
	if exists(certificate) && exists(key) {
		pass()
		return "", append(args, "--cert-file", certificate, "--key-file", key)
	}
	return "", nil
}

func exists(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}
