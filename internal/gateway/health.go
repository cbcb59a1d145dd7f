// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
)

// healthz answers that the process serves.
func healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "ok")
}

// readyz answers whether the gateway takes requests.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if isClosed(s.draining.stopping) {
		return unavailable("the gateway is stopping")
	}
	return writeText(w, "ok")
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(text)) // that the client is gone is no error
	return nil
}
