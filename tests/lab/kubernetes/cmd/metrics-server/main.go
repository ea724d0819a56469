// Command metrics-server stands for the packaged add-on of that name: an aggregated API that is there some time after its
// pod, and lists nothing. What it is for is that API servers and their clients meet one.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"time"
)

const group = "metrics.k8s.io/v1beta1"

func main() {
	port := flag.Int("secure-port", 10250, "where to listen")
	resolution := flag.Duration("metric-resolution", 15*time.Second, "how long the first values take")
	flag.String("cert-dir", "", "not used: the certificate is in memory")
	flag.Parse()
	certificate, err := selfSigned()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Addr: fmt.Sprintf(":%d", *port), Handler: routes(time.Now().Add(*resolution)), ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func routes(ready time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(ready) {
			http.Error(w, "[-]metric-storage-ready failed: not metrics to serve", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
	})
	resource := func(name, kind string, namespaced bool) map[string]any {
		return map[string]any{"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": []string{"get", "list"}}
	}
	answer(mux, "/apis/"+group, map[string]any{
		"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group,
		"resources": []any{resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)},
	})
	for path, kind := range map[string]string{"nodes": "NodeMetricsList", "pods": "PodMetricsList"} {
		answer(mux, "/apis/"+group+"/"+path, map[string]any{"kind": kind, "apiVersion": group, "metadata": map[string]any{}, "items": []any{}})
	}
	return mux
}

func answer(mux *http.ServeMux, path string, value any) {
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value) // A client that is gone needs no answer.
	})
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "metrics-server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	content, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{content}, PrivateKey: key}, err
}
