package klipper

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// patience bounds each talk with the API server.
const patience = 30 * time.Second

// release is the record of a release's newest revision.
type release struct {
	object   string
	revision int
}

// releases reads and corrects helm's records, which lie in secrets or config maps of the target namespace.
type releases struct {
	client    kubernetes.Interface
	namespace string
	inMaps    bool
}

func inCluster(driver, namespace string) (releases, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return releases{}, err
	}
	client, err := kubernetes.NewForConfig(config)
	return releases{client: client, namespace: namespace, inMaps: driver == "configmap"}, err
}

func (r releases) latest(name string) (release, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: "owner=helm,name=" + name}
	var objects []metav1.ObjectMeta
	if r.inMaps {
		list, err := r.client.CoreV1().ConfigMaps(r.namespace).List(ctx, options)
		if err != nil {
			return release{}, fmt.Errorf("cannot list releases: %w", err)
		}
		for _, item := range list.Items {
			objects = append(objects, item.ObjectMeta)
		}
	} else {
		list, err := r.client.CoreV1().Secrets(r.namespace).List(ctx, options)
		if err != nil {
			return release{}, fmt.Errorf("cannot list releases: %w", err)
		}
		for _, item := range list.Items {
			objects = append(objects, item.ObjectMeta)
		}
	}
	var newest release
	for _, object := range objects {
		revision, err := strconv.Atoi(object.Labels["version"])
		if err == nil && revision > newest.revision {
			newest = release{object: object.Name, revision: revision}
		}
	}
	if newest.revision == 0 {
		return release{}, fmt.Errorf("release: not found")
	}
	return newest, nil
}

// markFailed gives the newest revision the status failed.
func (r releases) markFailed(name string) error {
	stuck, err := r.latest(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r.inMaps {
		maps := r.client.CoreV1().ConfigMaps(r.namespace)
		found, err := maps.Get(ctx, stuck.object, metav1.GetOptions{})
		if err != nil {
			return err
		}
		record, err := failed([]byte(found.Data["release"]))
		if err != nil {
			return err
		}
		found.Data["release"], found.Labels["status"] = string(record), "failed"
		_, err = maps.Update(ctx, found, metav1.UpdateOptions{})
		return err
	}
	secrets := r.client.CoreV1().Secrets(r.namespace)
	found, err := secrets.Get(ctx, stuck.object, metav1.GetOptions{})
	if err != nil {
		return err
	}
	record, err := failed(found.Data["release"])
	if err != nil {
		return err
	}
	found.Data["release"], found.Labels["status"] = record, "failed"
	_, err = secrets.Update(ctx, found, metav1.UpdateOptions{})
	return err
}

// failed rewrites the status inside a record, which is base64 of gzip of JSON.
func failed(record []byte) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(string(record))
	if err != nil {
		return nil, fmt.Errorf("release record is no base64: %w", err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("release record is no gzip: %w", err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("release record is no gzip: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var content map[string]any
	if err := decoder.Decode(&content); err != nil {
		return nil, fmt.Errorf("release record is no JSON: %w", err)
	}
	info, ok := content["info"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("release record has no info")
	}
	info["status"] = "failed"
	text, err = json.Marshal(content)
	if err != nil {
		return nil, err
	}
	var repacked bytes.Buffer
	writer := gzip.NewWriter(&repacked)
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(repacked.Bytes())), nil
}
