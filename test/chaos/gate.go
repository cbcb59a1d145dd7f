// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	gateIdleConnections = 100
	gateDialTimeout     = 5 * time.Second
)

// gate is the last hop between one manager and the API server. Unlike a link it reads the requests. It logs every create of
// a Job, and can hold it back. It also logs who writes the status of which JobRun.
type gate struct {
	replica *replica
	traffic *traffic
	server  *http.Server
	proxy   *httputil.ReverseProxy
	api     http.RoundTripper
	target  *url.URL
	// listen is the gate's address, and bundle the certificates of its authority.
	listen string
	bundle []byte
}

// newGate starts a gate to the API server at target, whose certificate bundle has signed.
func newGate(r *replica, dir string, target *url.URL, bundle []byte) (*gate, error) {
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the kubeconfig of the manager has no certificate authority")
	}
	g := &gate{replica: r, traffic: r.cluster.traffic, target: target, api: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		DialContext:         (&net.Dialer{Timeout: gateDialTimeout}).DialContext,
		MaxIdleConnsPerHost: gateIdleConnections,
		DisableCompression:  true,
	}}
	var err error
	if g.bundle, err = controlplane.NewServingCert(dir); err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	g.proxy = &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(g.target) },
		Transport:     g.api,
		FlushInterval: -1,
		ErrorLog:      quiet,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { cutOffClient() },
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g.listen = listener.Addr().String()
	g.server = &http.Server{Handler: g, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	go func() {
		_ = g.server.ServeTLS(listener, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	}()
	return g, nil
}

// cutOffClient ends the connection of the request without an answer, as if the network had.
func cutOffClient() { panic(http.ErrAbortHandler) }

// ServeHTTP passes a request on.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch resource, name := written(r); {
	case resource == "jobs" && r.Method == http.MethodPost:
		g.createJob(w, r)
		return
	case resource == "jobruns" && strings.HasSuffix(name, "/status"):
		g.traffic.wroteStatus(g.replica.processName(), r.URL.Path)
	}
	g.proxy.ServeHTTP(w, r)
}

// written returns the resource in a namespace that a request writes, and the rest of the path. It returns "" for a read.
func written(r *http.Request) (resource, name string) {
	if r.Method == http.MethodGet {
		return "", ""
	}
	_, path, found := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.SplitN(path, "/", 3)
	if !found || len(parts) < 2 {
		return "", ""
	}
	return parts[1], strings.Join(parts[2:], "")
}

// createJob passes the create of a Job on, unless a fault holds it back.
func (g *gate) createJob(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cutOffClient()
	}
	c := g.traffic.creates(r, body)
	if c == nil {
		cutOffClient()
	}
	if held := g.traffic.heldBack(c.create); held != nil {
		held.take(g, c)
		pause(r.Context(), held.stall)
		cutOffClient()
	}
	answer, err := g.send(r.Context(), c)
	if err != nil {
		cutOffClient()
	}
	defer answer.Body.Close()
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(w, answer.Body); err != nil {
		cutOffClient()
	}
}

// send sends the create of a Job to the API server, and logs it.
func (g *gate) send(ctx context.Context, c *jobCreate) (*http.Response, error) {
	target := g.target.JoinPath(c.path)
	target.RawQuery = c.query
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	request.GetBody = nil // so that it is never sent twice
	request.Header = c.header.Clone()
	answered := g.traffic.sent(c.create)
	answer, err := g.api.RoundTrip(request)
	if err == nil {
		answered(answer.StatusCode)
	}
	return answer, err
}

func (g *gate) close() error { return g.server.Close() }
