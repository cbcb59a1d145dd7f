// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"net/http"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// minDrainTime is how long the webhook goes on at least, because the API server may still open connections.
	minDrainTime = 2 * time.Second
	drainPeriod  = 50 * time.Millisecond
)

// drained returns a context that ends when the webhook has drained after the end of ctx. The whole manager uses it, so that the
// webhook's caches follow the cluster while it drains.
func (s *webhookServer) drained(ctx context.Context) context.Context {
	drained, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		defer end()
		s.drain()
	})
	return drained
}

// drain goes on until the API server has closed all its connections, so that it gets an answer to each request. A server that
// closes an idle connection cannot know whether a request is on its way: the API server then gets no answer, and refuses the
// trigger, because it repeats no POST. So this server asks with each answer that the connection be closed, and waits for the API
// server to close the idle ones, at most for drainTimeout.
func (s *webhookServer) drain() {
	s.draining.Store(true)
	if !s.started.Load() {
		return
	}
	ctrl.Log.Info("Draining the webhook", "connections", s.connections.Load(), "timeout", s.drainTimeout.String())
	timeout := s.clock.After(s.drainTimeout)
	<-s.clock.After(minDrainTime)
	tick := s.clock.NewTicker(drainPeriod)
	defer tick.Stop()
	for s.connections.Load() > 0 {
		select {
		case <-tick.C():
		case <-timeout:
			ctrl.Log.Info("The API server may refuse a request: the webhook closes connections", "connections", s.connections.Load())
			return
		}
	}
}

func (s *webhookServer) answer(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	s.mux.ServeHTTP(w, r)
}

// count counts the open connections. It is for http.Server.
func (s *webhookServer) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Add(-1)
	}
}
