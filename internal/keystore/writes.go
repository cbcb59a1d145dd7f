// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// failingFor is how long all writes have failed when RunKeys cannot be written.
	failingFor = 10 * time.Second
	// forgetAfter is how long after the last failure it is no longer known whether RunKeys can be written.
	forgetAfter = 5 * time.Minute
)

// writes knows whether the API server takes writes of RunKeys.
type writes struct {
	mu sync.Mutex
	// first and last are the first and the last failure since a write succeeded. err is the last one, or nil.
	first, last time.Time
	err         error
}

// note records the result of a write, and returns it.
func (w *writes) note(now time.Time, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil, outrun(err):
		w.err = nil
	case errors.Is(err, context.Canceled), apierrors.IsInvalid(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// It says nothing about other RunKeys.
	case w.err == nil || now.Sub(w.last) > forgetAfter:
		w.first, w.last, w.err = now, now, err
	default:
		w.last, w.err = now, err
	}
	return err
}

// CheckWrites returns an error while all writes of RunKeys fail, so that no run with a key starts. It is a healthz.Checker.
func (s *Store) CheckWrites(*http.Request) error { return s.writes.check(s.clock.Now()) }

func (w *writes) check(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || w.last.Sub(w.first) < failingFor || now.Sub(w.last) > forgetAfter {
		return nil
	}
	return fmt.Errorf("no RunKey can be written since %s: %w", w.first.UTC().Format(time.RFC3339), w.err)
}
