// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// read returns the next n events. It fails if they do not come within an hour.
func read(t *testing.T, events func(func(Event, error) bool), n int) string {
	t.Helper()
	var got []Event
	for event, err := range events {
		if err != nil {
			t.Fatalf("after %s: %v", short(got), err)
		}
		if got = append(got, event); len(got) == n {
			break
		}
	}
	return short(got)
}

func TestWatchTellsWhatHappensAfterItReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := newServer()
		a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
		events, err := s.client().Watch(ctx, Selector{JobName: "sync"})
		if err != nil {
			t.Fatal(err)
		}
		other := makeRun("other", v1alpha1.JobRunStatus{})
		other.Spec.JobName = "other"
		s.Put(other)
		s.Put(receiptOf(a, "b"))
		s.Change("a", held(1))
		mustEqual(t, "first", read(t, events, 1), "coalesced(a b)")

		// The loop can be left and entered again. No event in between is lost.
		s.Change("a", expired(1))
		s.Change("a", held(3))
		mustEqual(t, "then", read(t, events, 1), "leased(a 1)")
		s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		s.Put(makeRun("c", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
		s.Forget()
		mustEqual(t, "at last", read(t, events, 3), "leased(a 3) complete(a) trigger(c)")
		s.Remove("a")
		mustEqual(t, "and gone", read(t, events, 1), "delete(a)")
		mustEqual(t, "watches left open", s.Watches(), 0)
	})
}

func TestWatchWithExisting(t *testing.T) {
	s := newServer()
	a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
	s.Put(receiptOf(a, "receipt"))
	events, err := s.client().Watch(t.Context(), Selector{}, WithExisting())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "requests", s.lists(), 1)
	mustEqual(t, "events", read(t, events, 2), "trigger(a) coalesced(a receipt)")
	mustEqual(t, "requests", s.watches(), 0)
}

// While the API server goes down and comes back, no event is missed or told twice.
func TestWatchSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		s := newServer()
		events, err := s.client().Watch(ctx, Selector{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			synctest.Wait()
			a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
			s.Cut()
			s.Change("a", counts(3))
			s.Put(receiptOf(a, "b"))
			s.Put(receiptOf(a, "c"))
			s.Forget()
			down(s, apiserver.Refused())
			time.Sleep(time.Minute)
			s.Cut()
			s.Change("a", held(1))
			down(s, apierrors.NewServiceUnavailable("starting"))
			s.Change("a", end(v1alpha1.PhaseFailed, ""))
		}()
		mustEqual(t, "events", read(t, events, 6), "trigger(a) coalesced(a b) coalesced(a c) coalesced(a) leased(a 1) fail(a)")
	})
}

func TestWatchEndsWithAnError(t *testing.T) {
	s := newServer()
	ctx, cancel := context.WithCancel(t.Context())
	events, err := s.client().Watch(ctx, Selector{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	n := 0
	for _, err := range events {
		n++
		mustEqual(t, "cancelled", errors.Is(err, context.Canceled), true)
	}
	mustEqual(t, "pairs", n, 1)

	s.SetDown(apierrors.NewForbidden(resource, "", errors.New("no")))
	_, err = s.client().Watch(t.Context(), Selector{})
	mustEqual(t, "forbidden", apierrors.IsForbidden(err), true)
}
