// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
)

// newStreams returns the streams of events, and registers their metrics.
func newStreams(o Options) *events.Streams {
	streams := events.NewStreams(o.Log, o.Clock, o.API, events.NewHub(o.Log, o.Streams.HistoryBytes), o.Streams)
	o.Metrics.MustRegister(streams.Collectors()...)
	return streams
}

// followEvents keeps the streams up to date until the gateway drains.
func (s *Server) followEvents(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-s.drained()
		s.streams.Drain()
		cancel()
	}()
	s.streams.Follow(ctx, events.ListerWatcher(s.API))
}

// events answers with a stream of the events of the namespace's runs.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	return s.streams.Serve(w, r, namespaceOf(r), events.Caller{
		Name: userOf(r.Context()).GetName(), Allowed: s.stillAllowed(r, needsEvents),
	})
}

var needsEvents = inNamespace("watch", jobRuns)
