// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decoding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Finder returns the objects that cannot be decoded, with the reason, as text. It returns an empty text if it finds none.
type Finder func(ctx context.Context) (string, error)

// Health records the kinds of objects whose list cannot be decoded.
type Health struct {
	find Finder

	mu      sync.Mutex
	failing map[string]failure
}

// failure is the failure of one reflector.
type failure struct {
	reflector *toolscache.Reflector
	// version is what the reflector had synced when it failed. A list that succeeds changes it.
	version string
	err     error
}

// NewHealth returns a Health. It calls find once when lists of JobRuns begin to fail.
func NewHealth(find Finder) *Health {
	return &Health{find: find, failing: map[string]failure{}}
}

// HandleWatchError is called when a list or a watch has failed, before it is tried again.
func (h *Health) HandleWatchError(ctx context.Context, r *toolscache.Reflector, err error) {
	toolscache.DefaultWatchErrorHandler(ctx, r, err)
	if !Undecodable(err) || !h.record(r, err) {
		return
	}
	kind := r.TypeDescription()
	found := ""
	if strings.HasSuffix(kind, ".JobRun") {
		var failed error
		if found, failed = h.find(ctx); failed != nil {
			found = "not found: " + failed.Error()
		}
	}
	log.FromContext(ctx).Error(err, "Cannot decode the objects of a kind, the cache does not change until the object is deleted",
		"kind", kind, "object", found)
}

// record reports whether the failure is new.
func (h *Health) record(r *toolscache.Reflector, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	version := r.LastSyncResourceVersion()
	known, found := h.failing[r.TypeDescription()]
	h.failing[r.TypeDescription()] = failure{r, version, err}
	return !found || known.version != version
}

// Check returns an error while a list cannot be decoded. It is a healthz.Checker.
func (h *Health) Check(*http.Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.failing, func(_ string, f failure) bool { return f.reflector.LastSyncResourceVersion() != f.version })
	var errs []error
	for _, kind := range slices.Sorted(maps.Keys(h.failing)) {
		errs = append(errs, fmt.Errorf("cannot decode %s, the log names the object: %w", kind, h.failing[kind].err))
	}
	return errors.Join(errs...)
}

// Undecodable reports whether a list failed because its answer cannot be decoded. Every other failure is an answer of the
// API server, or a request or an answer that broke off.
func Undecodable(err error) bool {
	var answer apierrors.APIStatus
	var request *url.Error
	var network net.Error
	switch {
	case errors.As(err, &answer), errors.As(err, &request), errors.As(err, &network):
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	default:
		return !strings.Contains(err.Error(), "error when reading response body")
	}
}
