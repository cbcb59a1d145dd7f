// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// fakeServer serves until its context ends, or at most as long as its Start says.
type fakeServer struct {
	webhook.Server
	start func(context.Context) error
	hook  http.Handler
}

func (f *fakeServer) Start(ctx context.Context) error      { return f.start(ctx) }
func (f *fakeServer) Register(_ string, hook http.Handler) { f.hook = hook }

func TestDrainingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeServer{start: func(ctx context.Context) error { <-ctx.Done(); return nil }}
		server := &drainingServer{Server: fake, clock: clock.RealClock{}}
		server.Register("/", http.NotFoundHandler())
		answer := func() string {
			w := httptest.NewRecorder()
			fake.hook.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
			return w.Header().Get("Connection")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- server.Start(ctx) }()
		synctest.Wait()
		if got := answer(); got != "" {
			t.Errorf("while it serves, it answers Connection: %s", got)
		}
		stop()
		time.Sleep(drainTime - time.Millisecond)
		synctest.Wait()
		if got := answer(); got != "close" || len(ended) > 0 {
			t.Errorf("while it drains, it answers Connection: %q, and has ended: %t", got, len(ended) > 0)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(ended) == 0 {
			t.Error("it does not end")
		}
	})
}

// A server that fails to start ends at once.
func TestDrainingServerThatFails(t *testing.T) {
	failed := errors.New("the address is in use")
	server := &drainingServer{Server: &fakeServer{start: func(context.Context) error { return failed }}, clock: clock.RealClock{}}
	if err := server.Start(t.Context()); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
