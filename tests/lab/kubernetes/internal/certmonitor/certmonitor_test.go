package certmonitor

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"slicer-k3s.lab/kubernetes/internal/pki"
)

func checked(t *testing.T, days string) (sound bool, events string) {
	t.Helper()
	t.Setenv("CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS", days)
	tls, agent := t.TempDir(), t.TempDir()
	if err := pki.Ensure(tls); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.Load(tls, "client-ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(filepath.Join(agent, "client-kubelet"), pki.Leaf{Name: "system:node:n", Client: true}); err != nil {
		t.Fatal(err)
	}
	recorder := record.NewFakeRecorder(9)
	sound = check(recorder, &corev1.ObjectReference{}, tls, agent)
	close(recorder.Events)
	var all []string
	for event := range recorder.Events {
		all = append(all, event)
	}
	return sound, strings.Join(all, "\n")
}

// A program that reads the event finds the original's words in it, and nothing while all is well.
func TestWarning(t *testing.T) {
	if sound, events := checked(t, ""); !sound || events != "" {
		t.Errorf("a year: %v, %q", sound, events)
	}
	sound, events := checked(t, "20")
	end := time.Now().Add(20 * 24 * time.Hour).UTC().Format("2006-01-02")
	for _, part := range []string{
		"Warning CertificateExpirationWarning Node certificates require attention - restart k3s on this node to trigger automatic rotation: ",
		"kubelet/client-kubelet.crt: certificate CN=system:node:n will expire within 120 days at " + end,
	} {
		if sound || !strings.Contains(events, part) {
			t.Errorf("20 days: %v, %q lacks %q", sound, events, part)
		}
	}
	// The authorities live for ten years, and stand behind each leaf in its file.
	if strings.Contains(events, "CACertificate") || strings.Contains(events, "client-ca") {
		t.Error(events)
	}
}
