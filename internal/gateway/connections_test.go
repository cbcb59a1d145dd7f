// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// pipes is a listener whose connections are pipes, so that a gateway serves in a bubble of synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (pipes) Addr() net.Addr { return &net.IPAddr{} }

// overPipe serves the gateway with HTTP/1.1, sends the text of a request, and returns what comes back until the gateway
// closes the connection.
func (g *gate) overPipe(t *testing.T, request string) string {
	t.Helper()
	listener := make(pipes)
	server := &http.Server{Handler: g, ReadHeaderTimeout: headerTimeout}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	ours, theirs := net.Pipe()
	defer ours.Close()
	listener <- theirs
	_ = ours.SetDeadline(time.Now().Add(10 * time.Minute))
	if _, err := io.WriteString(ours, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(ours)
	if err != nil {
		t.Errorf("the connection stays: %v", err)
	}
	return string(answer)
}

// A body that does not come is awaited for a while, whoever the caller is and whatever the route.
func TestABodyThatDoesNotCome(t *testing.T) {
	const ann = "Host: g\r\nAuthorization: Bearer ann\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"of a public route": "GET /healthz HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\n",
		"without a token":   "POST " + syncPath + " HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\n",
		"without a length":  "POST " + syncPath + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n",
		"in parts":          "POST " + syncPath + " HTTP/1.1\r\n" + ann + "Content-Length: 10\r\n\r\n{",
		"of a stream":       "GET /v1/namespaces/default/events HTTP/1.1\r\n" + ann + "Content-Length: 10\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, begun := newGate(t, apiserver.New(), func(o *Options) { o.Streams.PerCaller, o.Streams.Total = 1, 1 }), time.Now()
				defer g.Drain()
				go g.followEvents(t.Context())
				g.overPipe(t, request)
				if took := time.Since(begun); took < bodyPatience || took > bodyPatience+time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// The time for a body that has come ends nothing.
func TestAWaitIsLongerThanTheTimeForABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
			run.Spec.Admission = apiserver.Created(run.Name)
			name := run.Name
			defer time.AfterFunc(2*bodyPatience, func() {
				s.Change(name, func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhaseCompleted })
			})
			return store()
		}
		g := newGate(t, s)
		defer g.Drain()
		go g.followEvents(t.Context())
		answer := g.overPipe(t, fmt.Sprintf("POST %s?wait=%s HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer ann\r\n"+
			"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", syncPath, 4*bodyPatience))
		if !strings.HasPrefix(answer, "HTTP/1.1 201 ") || !strings.Contains(answer, `"phase":"Completed"`) {
			t.Error(answer)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config, err := SelfSigned(listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	g, ended := newGate(t, apiserver.New()), make(chan error, 1)
	go func() {
		ended <- (&Endpoint{Server: g.Server, Listener: listener, TLS: config, Connections: 1}).Start(t.Context())
	}()
	connect := func(patience time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		return dialer.DialContext(ctx, "tcp", listener.Addr().String())
	}
	first, err := connect(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(200 * time.Millisecond); err == nil {
		t.Error("there is a second connection")
	}
	first.Close()
	third, err := connect(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
	listener.Close()
	g.Drain()
	if err := <-ended; err == nil {
		t.Error("it serves on")
	}
}
