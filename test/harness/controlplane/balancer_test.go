// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// backend is an HTTPS server that answers with its name.
func backend(t *testing.T, certDir, name string) *httptest.Server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(certDir, "tls.crt"), filepath.Join(certDir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func address(server *httptest.Server) string { return server.Listener.Addr().String() }

func TestBalancer(t *testing.T) {
	certDir := t.TempDir()
	caBundle, err := NewServingCert(certDir)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caBundle)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
	a, b := backend(t, certDir, "a"), backend(t, certDir, "b")
	balancer, err := NewBalancer(address(a), address(b))
	if err != nil {
		t.Fatal(err)
	}
	answers := func(requests int) map[string]int {
		t.Helper()
		count := map[string]int{}
		for range requests {
			response, err := client.Get("https://" + balancer.Addr())
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			count[string(body)]++
		}
		return count
	}

	if got := answers(6); got["a"] != 3 || got["b"] != 3 {
		t.Errorf("two backends: got %v, want 3 each", got)
	}
	a.Close()
	if got := answers(6); got["b"] != 6 {
		t.Errorf("one has ended: got %v, want all from b", got)
	}
	c := backend(t, certDir, "c")
	balancer.SetBackends(address(c))
	if got := answers(2); got["c"] != 2 {
		t.Errorf("replaced: got %v, want all from c", got)
	}
	balancer.SetBackends()
	if _, err := client.Get("https://" + balancer.Addr()); err == nil {
		t.Error("no backend: got an answer")
	}
	if err := balancer.Close(); err != nil {
		t.Error(err)
	}
}

func TestBalancerCloseEndsConnections(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	balancer, err := NewBalancer(address(server))
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", balancer.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	eventually(t, "the connection is forwarded", func(context.Context) (bool, error) {
		balancer.mu.Lock()
		defer balancer.mu.Unlock()
		return len(balancer.open) == 2, nil
	})
	if err := balancer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := connection.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}
