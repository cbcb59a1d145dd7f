// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"
)

// pipes is a listener without a network, for the fake clock of synctest.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	dials       int
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.connections <- server:
		p.dials++
		return client, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	}
}

// draining is a webhook server with a client like the API server.
type draining struct {
	t         *testing.T
	listener  *pipes
	client    *http.Transport
	terminate func() // is the signal to end
	began     time.Time
	ended     chan error
}

// drains calls do with a webhook server, in a bubble of synctest.
func drains(t *testing.T, hook http.HandlerFunc, do func(*draining)) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("/", hook)
		server := &webhookServer{mux: mux, drainTimeout: 100 * time.Second, clock: clock.RealClock{}}
		d := &draining{
			t: t, listener: &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}, ended: make(chan error, 1),
		}
		d.client = &http.Transport{DialContext: d.listener.dial, IdleConnTimeout: clientIdleTime}
		ctx, cancel := context.WithCancel(t.Context())
		d.terminate = func() {
			d.began = time.Now()
			cancel()
			synctest.Wait()
		}
		go func() { d.ended <- server.serve(server.drained(ctx), d.listener) }()
		do(d)
		d.client.CloseIdleConnections()
	})
}

// post sends a request as the API server does: it does not repeat it.
func (d *draining) post() {
	d.t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://webhook/", strings.NewReader("{}"))
	if err != nil {
		d.t.Fatal(err)
	}
	response, err := d.client.RoundTrip(request)
	if err != nil {
		d.t.Errorf("refused: %v", err)
		return
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		d.t.Errorf("got %s, %v", response.Status, err)
	}
}

// endsAfter waits for the server and checks how long it drained.
func (d *draining) endsAfter(want time.Duration) {
	d.t.Helper()
	err := <-d.ended
	if got := time.Since(d.began); err != nil || got < want || got > want+time.Second {
		d.t.Errorf("ended after %s, %v, want %s", got, err, want)
	}
}

func answers(http.ResponseWriter, *http.Request) {}

func TestDrainAnswersOnAnIdleConnection(t *testing.T) {
	drains(t, answers, func(d *draining) {
		d.post()
		d.terminate()
		time.Sleep(time.Minute)
		d.post()
		if d.listener.dials != 1 {
			t.Errorf("dialed %d times: the server closed the idle connection", d.listener.dials)
		}
		d.endsAfter(time.Minute)
	})
}

func TestDrainLetsTheClientCloseIdleConnections(t *testing.T) {
	drains(t, answers, func(d *draining) {
		d.post()
		time.Sleep(time.Second)
		d.terminate()
		d.endsAfter(clientIdleTime - time.Second)
	})
}

func TestDrainAcceptsConnections(t *testing.T) {
	drains(t, answers, func(d *draining) {
		d.terminate()
		time.Sleep(minDrainTime - time.Millisecond)
		d.post()
		d.endsAfter(minDrainTime)
	})
}

func TestDrainEndsAfterItsTimeout(t *testing.T) {
	drains(t, answers, func(d *draining) {
		d.client.IdleConnTimeout = 0
		d.post()
		d.terminate()
		d.endsAfter(100 * time.Second)
	})
}

// A request that is answered when the drain ends is answered to its end.
func TestStopAwaitsRequests(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			w.WriteHeader(http.StatusInternalServerError)
		case <-time.After(110 * time.Second):
		}
	}
	drains(t, slow, func(d *draining) {
		d.terminate()
		d.post()
		d.endsAfter(110 * time.Second)
	})
}

// The API server closes a connection first, at any time.
func TestServerKeepsIdleConnectionsLonger(t *testing.T) {
	drains(t, answers, func(d *draining) {
		d.client.IdleConnTimeout = 0
		d.post()
		time.Sleep(clientIdleTime + time.Minute)
		d.post()
		if d.listener.dials != 1 {
			t.Errorf("dialed %d times: the server closed the idle connection", d.listener.dials)
		}
		d.terminate()
		d.post()
		d.endsAfter(minDrainTime)
	})
}

func TestDrainBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		drained := (&webhookServer{clock: clock.RealClock{}}).drained(ctx)
		cancel()
		synctest.Wait()
		if drained.Err() == nil {
			t.Error("a server that has not started drains")
		}
	})
}

// The kubelet kills no manager that drains, and the installed one drains for longer than the API server keeps a connection.
func TestDeploymentLetsTheManagerDrain(t *testing.T) {
	manifest, err := os.ReadFile("../config/manager/manager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(manifest, &deployment); err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	o, err := parseOptions(append(pod.Containers[0].Args, "--cert-rotation"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.drainTimeout <= clientIdleTime {
		t.Errorf("the manager drains for %s, and the API server keeps a connection for %s", o.drainTimeout, clientIdleTime)
	}
	sleep := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	const shutdown = 30 * time.Second // of controller-runtime's manager
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	if grace < sleep+o.drainTimeout+shutdown {
		t.Errorf("the grace period of the Pod is %s: the manager may sleep for %s, drain for %s and stop for %s",
			grace, sleep, o.drainTimeout, shutdown)
	}
}
