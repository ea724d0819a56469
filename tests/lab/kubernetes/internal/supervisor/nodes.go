package supervisor

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"slicer-k3s.lab/kubernetes/internal/nodepassword"
)

const ensureEvery = 5 * time.Second

// node checks that a request comes from the node it names and returns that name; what is wrong has then been answered.
func (s *Supervisor) node(w http.ResponseWriter, r *http.Request) (string, bool) {
	name, password := strings.ToLower(r.Header.Get(HeaderNodeName)), r.Header.Get(HeaderNodePassword)
	code, err := s.checkNode(r.Context(), whose(r).node(), name, password)
	if err != nil {
		refuse(w, r, code, err)
		return "", false
	}
	return name, true
}

// checkNode says whether a node may have this name; certified is the one that its client certificate gives it, if any.
func (s *Supervisor) checkNode(ctx context.Context, certified, name, password string) (int, error) {
	client := s.client.Load()
	switch {
	case name == "":
		return http.StatusBadRequest, errors.New("node name not set")
	case password == "":
		return http.StatusBadRequest, errors.New("node password not set")
	case certified != "" && certified != name:
		return http.StatusBadRequest, errors.New("header node name does not match auth node name")
	case client == nil && name == s.Config.Name:
		return s.checkSelf(password)
	case client == nil:
		return http.StatusServiceUnavailable, errCoreNotReady
	}
	if certified != "" {
		if _, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); err != nil {
			return http.StatusUnauthorized, fmt.Errorf("unable to verify node identity: %w", err)
		}
	}
	err := nodepassword.Ensure(ctx, client, name, password)
	if errors.Is(err, nodepassword.ErrRejected) {
		return http.StatusForbidden, err
	}
	if err != nil {
		// Whatever keeps the Secret from being written must not keep the node away: it may be what it takes to go on.
		logrus.Warnf("Failed to ensure node-password secret for node %s: %v", name, err)
		s.ensureLater(name, password)
	}
	return http.StatusOK, nil
}

// checkSelf lets this machine in by its own password, before there is an API server to ask.
func (s *Supervisor) checkSelf(password string) (int, error) {
	if subtle.ConstantTimeCompare([]byte(password), []byte(s.NodePassword)) != 1 {
		return http.StatusForbidden, errors.New("unable to verify local node password: hash does not match")
	}
	if s.ensureLater(s.Config.Name, password) {
		logrus.Infof("Password verified locally for node %s", s.Config.Name)
	}
	return http.StatusOK, nil
}

// ensureLater compares the password with the Secret once there is an API server. The node is in by then: what comes of
// it is an Event.
func (s *Supervisor) ensureLater(name, password string) (first bool) {
	if _, known := s.deferred.LoadOrStore(name, true); known {
		return false
	}
	go func() {
		for ; ; time.Sleep(ensureEvery) {
			client := s.client.Load()
			if client == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), ensureEvery)
			err := nodepassword.Ensure(ctx, client, name, password)
			event(ctx, client, name, err)
			cancel()
			if err == nil || errors.Is(err, nodepassword.ErrRejected) {
				return
			}
		}
	}()
	return true
}

// event says on the Node what became of its password.
func event(ctx context.Context, client kubernetes.Interface, node string, failure error) {
	kind, reason, message := corev1.EventTypeNormal, "NodePasswordValidationComplete", "Deferred node password secret validation complete"
	if failure != nil {
		kind, reason, message = corev1.EventTypeWarning, "NodePasswordValidationFailed", fmt.Sprintf("Deferred node password secret validation failed: %v", failure)
	}
	now := metav1.Now()
	_, err := client.CoreV1().Events(metav1.NamespaceDefault).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: node + "."},
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: node, UID: types.UID(node)},
		Type:           kind, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "k3s-supervisor"},
	}, metav1.CreateOptions{})
	if err != nil {
		logrus.Debugf("event %s of node %s not written: %v", reason, node, err)
	}
}
