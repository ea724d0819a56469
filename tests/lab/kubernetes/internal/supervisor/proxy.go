package supervisor

import (
	"crypto/tls"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"slicer-k3s.lab/kubernetes/internal/controlplane"
)

const (
	headerUser  = "X-Remote-User"
	headerGroup = "X-Remote-Group"
	headerExtra = "X-Remote-Extra-"
)

// proxy passes everything else on to the API server. Who the client's certificate says it is travels in the headers
// that the API server believes from this proxy alone; tokens are left to the API server.
func (s *Supervisor) proxy() (http.Handler, error) {
	roots, err := certPool(s.tls("server-ca.crt"))
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(s.tls("client-auth-proxy.crt"), s.tls("client-auth-proxy.key"))
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "https", Host: controlplane.APIHost(s.Config.Port)}
	certified := transports(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	anonymous := transports(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			chosen := anonymous
			if r.Header.Get(headerUser) != "" {
				chosen = certified
			}
			// An upgrade (exec, attach, port-forward) exists in HTTP/1.1 only.
			if r.Header.Get("Upgrade") != "" {
				return chosen.http1.RoundTrip(r)
			}
			return chosen.http2.RoundTrip(r)
		}),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			refuse(w, r, http.StatusServiceUnavailable, errAPINotReady)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if name == headerUser || name == headerGroup || strings.HasPrefix(name, headerExtra) || name == "X-Remote-Uid" {
				r.Header.Del(name)
			}
		}
		if who, _ := s.byCertificate(r); who != nil {
			r.Header.Set(headerUser, who.name)
			for _, group := range who.groups {
				r.Header.Add(headerGroup, group)
			}
		}
		proxy.ServeHTTP(w, r)
	}), nil
}

type pair struct{ http1, http2 http.RoundTripper }

func transports(config *tls.Config) pair {
	one := &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, DisableCompression: true}
	two := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true, DisableCompression: true}
	return pair{http1: one, http2: two}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
