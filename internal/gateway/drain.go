// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"sync"
)

// draining is the end of a gateway, in three steps.
type draining struct {
	stop, end         sync.Once
	stopping, stopped chan struct{}
	// accepted ends with cutShort.
	accepted context.Context //nolint:containedctx // that of the server, above those of all requests
	cutShort context.CancelFunc
}

func newDraining() *draining {
	d := &draining{stopping: make(chan struct{}), stopped: make(chan struct{})}
	d.accepted, d.cutShort = context.WithCancel(context.Background())
	return d
}

// Stopping tells that the gateway will stop soon: /readyz fails, and each answer asks to close its connection.
func (s *Server) Stopping() { s.draining.stop.Do(func() { close(s.draining.stopping) }) }

// Drain refuses all further requests with a 503, and ends waits and streams.
func (s *Server) Drain() {
	s.Stopping()
	s.draining.end.Do(func() { close(s.draining.stopped) })
}

// CutShort ends what was accepted and is not answered yet, so that it is answered soon with what is known of it.
func (s *Server) CutShort() { s.draining.cutShort() }

// isCutShort reports whether CutShort was called.
func (s *Server) isCutShort() bool { return s.draining.accepted.Err() != nil }

// untilCutShort returns a context that ends with ctx or with CutShort.
func (s *Server) untilCutShort(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.draining.accepted, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// drained is closed once the gateway drains. A handler that waits answers then what it knows.
func (s *Server) drained() <-chan struct{} { return s.draining.stopped }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
