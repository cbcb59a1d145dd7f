// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	// behindFor is how long the list or the watch of a kind has failed when its cache does not follow.
	behindFor = 30 * time.Second
	// forgetAfter is how long after the last failure the cache follows. A cache tries again at least once a minute.
	forgetAfter = 90 * time.Second
)

// Watches knows which caches of this process do not follow the cluster, because their list or watch fails.
type Watches struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	failing map[reflector]outage // With --namespaces, a kind has several reflectors.
}

// outage is a row of failures of one cache.
type outage struct {
	// version is what the cache had synced when it failed. It changes when the cache follows again.
	version     string
	first, last time.Time
	err         error
}

// reflector is what Watches needs of a cache's Reflector.
type reflector interface {
	TypeDescription() string
	LastSyncResourceVersion() string
}

// NewWatches returns a Watches that has seen no failure.
func NewWatches(c clock.PassiveClock) *Watches {
	return &Watches{clock: c, failing: map[reflector]outage{}}
}

// HandleWatchError records that a list or a watch has failed. It is a toolscache.WatchErrorHandlerWithContext.
func (w *Watches) HandleWatchError(_ context.Context, r *toolscache.Reflector, err error) {
	w.note(r, err)
}

func (w *Watches) note(r reflector, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	known, found := w.failing[r]
	if !found || known.over(r, now) {
		known.first = now
	}
	w.failing[r] = outage{r.LastSyncResourceVersion(), known.first, now, err}
}

func (o outage) over(r reflector, now time.Time) bool {
	return r.LastSyncResourceVersion() != o.version || now.Sub(o.last) > forgetAfter
}

// Check returns an error while a cache does not follow. It is a healthz.Checker.
func (w *Watches) Check(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	maps.DeleteFunc(w.failing, func(r reflector, o outage) bool { return o.over(r, now) })
	byKind := slices.SortedFunc(maps.Keys(w.failing), func(a, b reflector) int {
		return cmp.Or(cmp.Compare(a.TypeDescription(), b.TypeDescription()), w.failing[a].first.Compare(w.failing[b].first))
	})
	var errs []error
	for _, r := range byKind {
		if o := w.failing[r]; now.Sub(o.first) >= behindFor {
			since := o.first.UTC().Format(time.RFC3339)
			errs = append(errs, fmt.Errorf("the cache of %s has not followed since %s: %w", r.TypeDescription(), since, o.err))
		}
	}
	return errors.Join(errs...)
}
