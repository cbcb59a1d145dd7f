// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// contextKey is the type of this package's keys of contexts.
type contextKey int

const (
	userKey contextKey = iota
	traceKey
)

// userOf returns who the caller is. It is nil before authentication, and on public routes.
func userOf(ctx context.Context) user.Info {
	u, _ := ctx.Value(userKey).(user.Info)
	return u
}

// callerOf returns the name of the caller, after authentication.
func callerOf(ctx context.Context) string { return userOf(ctx).GetName() }

func withUser(ctx context.Context, u user.Info) context.Context {
	return context.WithValue(ctx, userKey, u)
}

// requestIDOf returns the id of the request, as the answer's X-Request-Id has it.
func requestIDOf(ctx context.Context) string { return traceOf(ctx).id }

// WhoAmI is who the caller is.
type WhoAmI struct {
	User authenticationv1.UserInfo `json:"user" doc:"The caller as the API server knows it."`
}

// whoami answers who the caller is.
func (s *Server) whoami(w http.ResponseWriter, r *http.Request) error {
	caller := userOf(r.Context())
	info := authenticationv1.UserInfo{Username: caller.GetName(), UID: caller.GetUID(), Groups: caller.GetGroups()}
	if extra := caller.GetExtra(); len(extra) > 0 {
		info.Extra = make(map[string]authenticationv1.ExtraValue, len(extra))
		for key, values := range extra {
			info.Extra[key] = values
		}
	}
	return s.writeJSON(w, http.StatusOK, WhoAmI{User: info})
}
