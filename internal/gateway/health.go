// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"time"
)

// receiversPatience is how long a gateway that starts is not ready because it has not read the receivers yet. After that, deliveries
// get a 503 until they are read: a namespace without the RoleBinding must not keep all other callers out.
const receiversPatience = time.Minute

// healthz answers that the process serves.
func healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "ok")
}

// readyz answers whether the gateway takes requests.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if isClosed(s.draining.stopping) {
		return unavailable("the gateway is stopping")
	}
	if !isClosed(s.streams.Synced()) { // An EventSource that gets a 503 does not come back.
		return unavailable("the gateway has not read the JobRuns yet")
	}
	if s.awaitsReceivers() { // GitHub sends what got a 503 no second time.
		return unavailable("the gateway has not read the receivers and their Secrets yet")
	}
	return writeText(w, "ok")
}

func (s *Server) awaitsReceivers() bool {
	return s.Receivers != nil && !isClosed(s.Receivers.Synced) && s.Clock.Since(s.started) < receiversPatience
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(text)) // that the client is gone is no error
	return nil
}
