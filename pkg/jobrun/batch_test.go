// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

func items(names ...string) []BatchItem {
	var all []BatchItem
	for _, name := range names {
		all = append(all, BatchItem{Spec: v1alpha1.JobRunSpec{JobName: "sync"}, Options: []TriggerOption{WithName(name)}})
	}
	return all
}

// triggerBatch triggers a batch, in a bubble, and returns once BatchTrigger waits for the decision.
func (s *server) triggerBatch(ctx context.Context, names ...string) (done chan error) {
	done = make(chan error)
	go func() {
		_, err := s.client().BatchTrigger(ctx, items(names...))
		done <- err
	}()
	synctest.Wait()
	return done
}

func (s *server) decide(leader string, decision v1alpha1.BatchDecision) {
	s.Change(leader, func(run *v1alpha1.JobRun) { run.Status.Batch = &v1alpha1.BatchStatus{Decision: decision} })
}

func (s *server) cancelled(name string) bool {
	run, err := s.client().Get(context.Background(), name)
	return err == nil && run.Spec.Cancel != nil && *run.Spec.Cancel
}

func TestBatchTriggerWaitsForTheDecision(t *testing.T) {
	for decision, want := range map[v1alpha1.BatchDecision]error{v1alpha1.BatchStarted: nil, v1alpha1.BatchWithdrawn: ErrCancelled} {
		t.Run(string(decision), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				done := make(chan error)
				var results []TriggerResult
				go func() {
					var err error
					results, err = s.client().BatchTrigger(t.Context(), items("a", "b", "c"))
					done <- err
				}()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("returned before the decision: %v", err)
				default:
				}
				s.decide("a", decision)
				if err := <-done; !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				for i, name := range []string{"a", "b", "c"} {
					batch := results[i].JobRun.Spec.Batch
					mustEqual(t, "name", results[i].JobRun.Name, name)
					mustEqual(t, "batch", *batch, v1alpha1.BatchMember{ID: results[0].JobRun.Spec.Batch.ID, Size: 3, Leader: "a"})
				}
			})
		})
	}
}

func TestBatchIsWithdrawnWhenAnItemIsRefused(t *testing.T) {
	s := newServer()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		if run.Name == "b" {
			return conflict("waiting")
		}
		return store()
	}
	_, err := s.client().BatchTrigger(t.Context(), items("a", "b", "c"))
	var item *BatchItemError
	if !errors.As(err, &item) || !errors.Is(err, ErrConflict) {
		t.Fatalf("got %v", err)
	}
	mustEqual(t, "index", item.Index, 1)
	mustEqual(t, "creates", s.creates(), 2)
	mustEqual(t, "the leader is cancelled", s.cancelled("a"), true)
}

func TestBatchIsWithdrawnWhenTheKeyOfAnItemIsReserved(t *testing.T) {
	s := newServer()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		if run.Name == "b" {
			return reservedFor("missing")
		}
		return store()
	}
	_, err := s.client().BatchTrigger(t.Context(), items("a", "b", "c"))
	var item *BatchItemError
	var reserved *ReservedError
	if !errors.As(err, &item) || !errors.As(err, &reserved) {
		t.Fatalf("got %v", err)
	}
	mustEqual(t, "index", item.Index, 1)
	mustEqual(t, "run", reserved.Run, "missing")
	mustEqual(t, "the leader is cancelled", s.cancelled("a"), true)
}

func TestBatchOfWhichTheFirstItemIsRefusedLeavesNothing(t *testing.T) {
	s := newServer()
	s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return conflict("waiting") }
	if _, err := s.client().BatchTrigger(t.Context(), items("a", "b")); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	mustEqual(t, "creates", s.creates(), 1)
}

func TestBatchIsWithdrawnWhenTheCallerGivesUp(t *testing.T) {
	s := newServer()
	ctx, cancel := context.WithCancel(t.Context())
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		if run.Name == "b" {
			cancel()
			return ctx.Err()
		}
		return store()
	}
	if _, err := s.client().BatchTrigger(ctx, items("a", "b")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	mustEqual(t, "the leader is cancelled", s.cancelled("a"), true)
}

// After a lost answer for the last item the batch may have started. After an earlier one it cannot have.
func TestBatchOfWhichAnAnswerIsLost(t *testing.T) {
	for lost, open := range map[string]bool{"b": false, "c": true} {
		t.Run(lost, func(t *testing.T) {
			s := newServer()
			ctx, cancel := context.WithCancel(t.Context())
			s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
				err := store()
				if run.Name == lost {
					cancel()
					return apiserver.Reset()
				}
				return err
			}
			_, err := s.client().BatchTrigger(ctx, items("a", "b", "c"))
			var item *BatchItemError
			mustEqual(t, "nothing executes", errors.As(err, &item), !open)
			var unanswered *UnansweredError
			if !errors.As(err, &unanswered) {
				t.Fatalf("got %v", err)
			}
			if open {
				mustEqual(t, "name", unanswered.Name, "a")
			}
			mustEqual(t, "the leader is cancelled", s.cancelled("a"), true)
		})
	}
}

// Cancelling the leader of a started batch would end one item.
func TestBatchThatHasStartedIsLeftAlone(t *testing.T) {
	s := newServer()
	ctx, cancel := context.WithCancel(t.Context())
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		err := store()
		if run.Name == "b" {
			s.decide("a", v1alpha1.BatchStarted)
			cancel()
			return apiserver.Reset()
		}
		return err
	}
	_, err := s.client().BatchTrigger(ctx, items("a", "b"))
	mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), true)
	mustEqual(t, "the leader is cancelled", s.cancelled("a"), false)
}

// Another caller's JobRun with the leader's name is not cancelled.
func TestBatchWhoseNameIsSomebodyElses(t *testing.T) {
	for name, answer := range map[string]error{
		"the webhook is down": apierrors.NewInternalError(errors.New("failed calling webhook")), "no answer": apiserver.Reset(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
				s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return answer }
				var item *BatchItemError
				if _, err := s.client().BatchTrigger(t.Context(), items("a", "b")); !errors.As(err, &item) {
					t.Errorf("got %v", err)
				}
				mustEqual(t, "it is cancelled", s.cancelled("a"), false)
			})
		})
	}
}

// The answer of a create may already have the decision.
func TestBatchThatIsDecidedBeforeItsAnswer(t *testing.T) {
	for decision, want := range map[v1alpha1.BatchDecision]error{v1alpha1.BatchStarted: nil, v1alpha1.BatchWithdrawn: ErrCancelled} {
		s := newServer()
		s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
			run.Status = v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCompleted, Batch: &v1alpha1.BatchStatus{Decision: decision}}
			return store()
		}
		if _, err := s.client().BatchTrigger(t.Context(), items("a")); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		mustEqual(t, "watches", s.watches(), 0)
	}
}

// A leader that was deleted unseen may have started its batch.
func TestBatchWhoseLeaderGoesUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		done := s.triggerBatch(t.Context(), "a")
		s.SetDown(apiserver.Refused())
		s.Cut()
		s.Remove("a")
		s.Forget()
		s.SetDown(nil)
		err := <-done
		mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), true)
		mustEqual(t, "nothing executes", errors.Is(err, ErrCancelled), false)
	})
}

func TestBatchOfWhichTheDecisionIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		ctx, cancel := context.WithCancel(t.Context())
		done := s.triggerBatch(ctx, "a")
		cancel()
		err := <-done
		var unanswered *UnansweredError
		if !errors.As(err, &unanswered) || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		mustEqual(t, "name", unanswered.Name, "a")
		mustEqual(t, "the leader is cancelled", s.cancelled("a"), false)
	})
}

func TestBatchWhoseLeaderIsDeletedIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		done := s.triggerBatch(t.Context(), "a")
		s.Remove("a")
		var withdrawn *BatchWithdrawnError
		if err := <-done; !errors.As(err, &withdrawn) {
			t.Fatalf("got %v", err)
		}
		mustEqual(t, "leader", withdrawn.Leader, "a")
	})
}

func TestBatchIsRefusedBeforeAnythingIsSent(t *testing.T) {
	bad := items("a", "b")
	bad[1].Spec.JobName = "Not A Name"
	dry := items("a")
	dry[0].Options = append(dry[0].Options, DryRun())
	for name, tc := range map[string]struct {
		items []BatchItem
		index int
	}{"an item that is not valid": {bad, 1}, "a dry run": {dry, 0}, "no item": {nil, -1}, "too many": {make([]BatchItem, 1001), -1}} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			_, err := s.client().BatchTrigger(t.Context(), tc.items)
			var item *BatchItemError
			switch {
			case err == nil:
				t.Error("not refused")
			case tc.index >= 0 && (!errors.As(err, &item) || item.Index != tc.index):
				t.Errorf("got %v, want item %d", err, tc.index)
			}
			mustEqual(t, "creates", s.creates(), 0)
		})
	}
}
