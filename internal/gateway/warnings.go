// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"slices"
	"sync"
)

// Warnings collects the API server's warnings about a request, for the answer to the caller. It is the
// WarningHandlerWithContext of the config of Options.API.
type Warnings struct{}

type warningsKey struct{}

// warnings are those of one context.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// collecting returns a context whose warnings are collected.
func collecting(ctx context.Context) (context.Context, *warnings) {
	w := &warnings{}
	return context.WithValue(ctx, warningsKey{}, w), w
}

// HandleWarningHeaderWithContext keeps each text once. Code 299 is the only one that Kubernetes sends.
func (Warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _ string, text string) {
	w, ok := ctx.Value(warningsKey{}).(*warnings)
	if !ok || code != 299 || text == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.texts, text) {
		w.texts = append(w.texts, text)
	}
}

// all returns the warnings so far.
func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}
