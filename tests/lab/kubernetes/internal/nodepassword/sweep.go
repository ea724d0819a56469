package nodepassword

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	sweepEvery = time.Minute
	ownEvery   = 5 * time.Second
	orphanAge  = 10 * time.Minute
)

// Sweep ties each password to its Node, so that it goes when the Node goes, and removes those that never got one.
func Sweep(ctx context.Context, client kubernetes.Interface) {
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(ownEvery):
		}
		sweeping := time.Since(last) > sweepEvery
		if sweeping {
			last = time.Now()
		}
		if err := once(ctx, client, sweeping); err != nil && ctx.Err() == nil {
			logrus.Debugf("node passwords not swept: %v", err)
		}
	}
}

func once(ctx context.Context, client kubernetes.Interface, sweeping bool) error {
	secrets, err := client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(secretType), ResourceVersion: "0"})
	if err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		name, ok := strings.CutSuffix(secret.Name, suffix)
		if !ok || len(secret.OwnerReferences) > 0 {
			continue
		}
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}}})
			if err != nil {
				return err
			}
			if _, err := client.CoreV1().Secrets(namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return err
			}
		case apierrors.IsNotFound(err) && sweeping && time.Since(secret.CreationTimestamp.Time) > orphanAge:
			logrus.Infof("Deleting orphaned node-password secret: %s", secret.Name)
			if err := client.CoreV1().Secrets(namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	return nil
}
