// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// drainTime is how long the webhook goes on when the manager stops. In this time the API server gives up its connections.
const drainTime = 2 * time.Second

// drainingServer is a webhook server that stops without a refused request. The API server keeps connections for later requests,
// and a request that it sends while the server closes the connection fails. So this server first answers for drainTime, and asks
// with each answer that its connection be closed. Then it closes what is idle.
type drainingServer struct {
	webhook.Server
	clock    clock.WithTicker
	draining atomic.Bool
}

// Start serves until drainTime after the end of ctx.
func (s *drainingServer) Start(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		s.draining.Store(true)
		<-s.clock.NewTimer(drainTime).C()
		stop()
	})()
	return s.Server.Start(serving)
}

// Register registers a hook as webhook.Server does.
func (s *drainingServer) Register(path string, hook http.Handler) {
	s.Server.Register(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		hook.ServeHTTP(w, r)
	}))
}
