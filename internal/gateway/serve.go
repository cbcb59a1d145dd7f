// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of connections. The chain bounds bodies, writeJSON bounds answers.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeaderBytes leaves room for a token.
	maxHeaderBytes = 64 << 10
	// maxStreams bounds the requests that one HTTP/2 connection has in flight.
	maxStreams = 1000
)

const (
	// stoppingTime is how long a gateway that stops goes on as before, so that no client is sent to it any more.
	stoppingTime = 2 * time.Second
	// acceptedTime is how long what was accepted goes on after that. Then it is cut short.
	acceptedTime = 30 * time.Second
	// cutTime is how long what was cut short takes at most until it has an answer. A batch is withdrawn, which takes 10 s at most.
	cutTime = 12 * time.Second
	// drainTime bounds the time in which what was accepted is answered, and the answers are read.
	drainTime = acceptedTime + cutTime + writePatience
	// StopTime bounds the time that an Endpoint takes to stop.
	StopTime = stoppingTime + drainTime
)

// Endpoint serves a Server over HTTPS. It implements manager.Runnable.
type Endpoint struct {
	Server   *Server
	Listener net.Listener
	TLS      *tls.Config
	// Connections bounds the open connections. Further clients wait until one ends. 0 means no bound.
	Connections int
}

// NeedLeaderElection says that every replica serves.
func (e *Endpoint) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, and then answers what was accepted.
func (e *Endpoint) Start(ctx context.Context) error {
	server := e.newServer()
	return e.serve(ctx, server, func(listener net.Listener) error { return server.ServeTLS(listener, "", "") })
}

// newServer returns what serves the connections.
func (e *Endpoint) newServer() *http.Server {
	return &http.Server{
		Handler: e.Server, TLSConfig: e.TLS, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		BaseContext: func(net.Listener) context.Context { return e.Server.draining.accepted },
	}
}

// serve is Start with a server, and with how it accepts connections.
func (e *Endpoint) serve(ctx context.Context, server *http.Server, accept func(net.Listener) error) error {
	go e.Server.followEvents(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { done <- e.stop(context.WithoutCancel(ctx), server) })
	e.Server.Log.Info("The gateway serves", "address", e.Listener.Addr().String())
	listener := e.Listener
	if e.Connections > 0 {
		listener = netutil.LimitListener(listener, e.Connections)
	}
	if err := accept(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve the gateway: %w", err)
	}
	return <-done
}

// stop ends the server in three steps: it goes on for a while, then refuses what is new, then waits for what was accepted.
// That may take longer than drainTime, such as a batch or many lines of a stream, so it is cut short in time to answer it.
func (e *Endpoint) stop(ctx context.Context, server *http.Server) error {
	e.Server.Stopping()
	<-e.Server.Clock.NewTimer(stoppingTime).C()
	e.Server.Drain()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	accepted, end := context.WithTimeout(ctx, acceptedTime)
	defer end()
	defer context.AfterFunc(accepted, e.Server.CutShort)()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("answer what was accepted: %w", err), server.Close())
	}
	return nil
}
