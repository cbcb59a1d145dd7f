// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/authentication/user"
)

// trace is what is known of a request while it is answered. One goroutine uses it.
type trace struct {
	id string
	// caller is nil until the caller is known, and on public routes.
	caller user.Info
	// created is the name of the JobRun that the request created, or empty.
	created string
}

// traceOf returns the trace of a request.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey).(*trace); ok {
		return t
	}
	return &trace{}
}

// audit logs who changed what, or tried to: one line for each request of a known caller that does more than read. A stream of
// triggers is one request.
func (s *Server) audit(r *http.Request, t *trace, route string, code int) {
	if t.caller == nil || r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return
	}
	if r.URL.Query().Has(dryRunParameter.name) {
		t.created = "" // it is not stored
	}
	s.Audit.Info("Answered a caller", "user", t.caller.GetName(), "uid", t.caller.GetUID(), "method", methodLabel(r.Method), "route", route,
		"namespace", short(namespaceOf(r)), "job", short(cmp.Or(r.PathValue(pathJob), r.PathValue(pathDefinition))), "run", short(r.PathValue(pathRun)),
		"created", t.created, "requestID", t.id, "code", code)
}

// short cuts a name of the path, which is none yet if the answer is a 404.
func short(name string) string {
	if len(name) <= validation.DNS1123SubdomainMaxLength {
		return name
	}
	return fmt.Sprintf("%.*s", validation.DNS1123SubdomainMaxLength, name)
}
