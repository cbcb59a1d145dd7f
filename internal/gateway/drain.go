// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync"
)

// draining is the end of a gateway, in two steps.
type draining struct {
	stop, end         sync.Once
	stopping, stopped chan struct{}
}

func newDraining() *draining {
	return &draining{stopping: make(chan struct{}), stopped: make(chan struct{})}
}

// Stopping tells that the gateway will stop soon: /readyz fails, and each answer asks to close its connection.
func (s *Server) Stopping() { s.draining.stop.Do(func() { close(s.draining.stopping) }) }

// Drain refuses all further requests with a 503, and ends waits and streams.
func (s *Server) Drain() {
	s.Stopping()
	s.draining.end.Do(func() { close(s.draining.stopped) })
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
