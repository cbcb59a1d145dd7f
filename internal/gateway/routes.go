// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
)

// route is one line of the routing table.
type route struct {
	// pattern is the method and the path, as net/http.ServeMux has them. It is the label of the route's metrics, without the method.
	pattern string
	// serve answers. It returns an error, or writes the answer.
	serve func(http.ResponseWriter, *http.Request) error
	// needs returns the rights that the path tells. They are checked before serve is called. It is nil if a caller needs to be
	// known, but needs no right.
	needs func(*http.Request) []right
	// public means that the route is for everybody, without a token.
	public bool
}

// routes returns the routing table.
func (s *Server) routes() []route {
	return []route{
		{pattern: "GET /v1/whoami", serve: s.whoami},
		{pattern: "GET /healthz", serve: healthz, public: true},
		{pattern: "GET /readyz", serve: s.readyz, public: true},
	}
}

// The names of the wildcards in the patterns.
const (
	pathNamespace = "ns"
	pathJob       = "job"
	pathRun       = "run"
)

// namespaceOf returns the namespace of the path, or "" if the path has none.
func namespaceOf(r *http.Request) string { return r.PathValue(pathNamespace) }
