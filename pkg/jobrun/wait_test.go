// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

var output = &apiextensionsv1.JSON{Raw: []byte(`{"rows":3}`)}

func end(phase v1alpha1.Phase, message string) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Phase, run.Status.Error = phase, message
		if phase == v1alpha1.PhaseCompleted {
			run.Status.Output = output
		}
	}
}

// settle returns a change that gives a receipt an outcome.
func settle(condition, reason, message string) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Error = message
		run.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
		if condition == v1alpha1.ConditionComplete {
			run.Status.Output = output
		}
	}
}

func progressed(n int64) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) { run.Status.Progress = &v1alpha1.Progress{Generation: 1, Current: &n} }
}

// waiting is a Wait in progress, in a bubble.
type waiting struct {
	outcome  Outcome
	err      error
	progress []int64
	ended    chan struct{}
}

func startWait(ctx context.Context, s *server, name string) *waiting {
	w := &waiting{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.outcome, w.err = s.client().Wait(ctx, name, OnProgress(func(p v1alpha1.Progress) { w.progress = append(w.progress, *p.Current) }))
	}()
	synctest.Wait()
	return w
}

func (w *waiting) result(t *testing.T) (Outcome, error) {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(time.Hour):
		t.Fatal("the wait does not end")
	}
	return w.outcome, w.err
}

func TestTriggerAndWaitNeedsNoList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		go func() {
			synctest.Wait()
			s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		}()
		outcome, err := s.client().TriggerAndWait(t.Context(), spec, WithName("a"), OnProgress(func(v1alpha1.Progress) {}))
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "output", outcome.Output, outcome.JobRun.Status.Output)
		mustEqual(t, "output", string(outcome.Output.Raw), `{"rows":3}`)
		mustEqual(t, "run", outcome.Run, v1alpha1.ObjectReference{Name: "a", UID: "uid-1"})
		mustEqual(t, "disposition", outcome.Disposition, v1alpha1.DispositionCreated)
		mustEqual(t, "requests", [3]int{s.creates(), s.lists(), s.watches()}, [3]int{1, 0, 1})
	})
}

func TestOutcomesAreTyped(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*v1alpha1.JobRun)
		want []error
		text string
	}{
		"failed":    {end(v1alpha1.PhaseFailed, "no rows"), []error{ErrFailed}, "run a failed: no rows"},
		"cancelled": {end(v1alpha1.PhaseCancelled, "cancelled on request"), []error{ErrCancelled}, "run a was cancelled: cancelled on request"},
		"expired": {func(run *v1alpha1.JobRun) {
			settle(v1alpha1.ConditionFailed, reasonLeaseExpired, "Lease expired; pending run b already exists")(run)
			run.Status.Phase = v1alpha1.PhaseFailed
		}, []error{ErrFailed, ErrLeaseLost}, "run a failed: Lease expired; pending run b already exists"},
		"its Job was lost": {func(run *v1alpha1.JobRun) {
			settle(v1alpha1.ConditionFailed, reasonJobLost, "Job a-1 was deleted before it ended")(run)
			run.Status.Phase = v1alpha1.PhaseFailed
		}, []error{ErrFailed, ErrLeaseLost}, "run a failed: Job a-1 was deleted before it ended"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.Put(makeRun("a", v1alpha1.JobRunStatus{}))
			s.Change("a", tc.end)
			outcome, err := s.client().Wait(t.Context(), "a")
			for _, want := range []error{ErrFailed, ErrCancelled, ErrLeaseLost, ErrNotFound} {
				mustEqual(t, want.Error(), errors.Is(err, want), slices.Contains(tc.want, want))
			}
			mustEqual(t, "text", fmt.Sprint(err), tc.text)
			mustEqual(t, "run", outcome.Run.Name, "a")
		})
	}
}

// WaitFor needs no request for a JobRun that has an outcome.
func TestWaitForWhatHasEnded(t *testing.T) {
	s := newServer()
	run := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed, Error: "no rows"}))
	s.Remove("a")
	outcome, err := s.client().WaitFor(t.Context(), run)
	mustEqual(t, "text", fmt.Sprint(err), "run a failed: no rows")
	mustEqual(t, "run", outcome.Run.Name, "a")
	mustEqual(t, "watches", s.watches(), 0)
}

// The error names the receipt if the receipt itself was cancelled, else its run.
func TestWaitForAReceiptThatIsCancelled(t *testing.T) {
	for name, own := range map[string]bool{"b": true, "a": false} {
		s := newServer()
		s.Put(receiptOf(s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased})), "b"))
		s.Change("b", settle(v1alpha1.ConditionCancelled, "Cancelled", "cancelled on request"))
		receipt := s.Change("b", func(run *v1alpha1.JobRun) { run.Spec.Cancel = &own })
		_, err := s.client().WaitFor(t.Context(), receipt)
		var cancelled *CancelledError
		if !errors.As(err, &cancelled) {
			t.Fatalf("got %v", err)
		}
		mustEqual(t, "who was cancelled", cancelled.RunName, name)
	}
}

func TestWaitForWhatIsNotThere(t *testing.T) {
	_, err := newServer().client().Wait(t.Context(), "a")
	mustEqual(t, "not found", errors.Is(err, ErrNotFound) && apierrors.IsNotFound(err), true)
}

// A receipt reports the outcome and the progress of its run.
func TestWaitForAReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
		s.Put(receiptOf(a, "b"))
		w := startWait(t.Context(), s, "b")
		for i := range int64(3) {
			s.Change("a", progressed(i))
			synctest.Wait()
		}
		s.Cut()
		s.Change("a", progressed(9))
		time.Sleep(time.Second)
		s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		s.Change("b", settle(v1alpha1.ConditionComplete, "Completed", ""))
		outcome, err := w.result(t)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "progress", fmt.Sprint(w.progress), "[0 1 2 9]")
		mustEqual(t, "run", outcome.Run, *refTo(a))
		mustEqual(t, "own", outcome.JobRun.Name, "b")
		mustEqual(t, "disposition", outcome.Disposition, v1alpha1.DispositionCoalesced)
		mustEqual(t, "output", string(outcome.Output.Raw), `{"rows":3}`)
	})
}

// The outcome differs from the answer: the receipt became a run.
func TestWaitForAReceiptThatIsPromoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		b := receiptOf(makeRun("a", v1alpha1.JobRunStatus{}), "b")
		b.Status = v1alpha1.JobRunStatus{}
		b = s.Put(b)
		w := startWait(t.Context(), s, "b")
		s.Change("b", func(run *v1alpha1.JobRun) {
			run.Status.Phase, run.Status.RunRef = v1alpha1.PhasePending, refTo(b)
		})
		s.Change("b", end(v1alpha1.PhaseCompleted, ""))
		outcome, err := w.result(t)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "disposition", outcome.Disposition, v1alpha1.DispositionCreated)
		mustEqual(t, "run", outcome.Run, *refTo(b))
	})
}

// After the receipt is deleted, Wait follows its run, and no other JobRun of that name.
func TestWaitForAReceiptThatGoes(t *testing.T) {
	for name, tc := range map[string]struct {
		after func(s *server)
		want  error
	}{
		"its run completes":  {func(s *server) { s.Change("a", end(v1alpha1.PhaseCompleted, "")) }, nil},
		"its run fails":      {func(s *server) { s.Change("a", end(v1alpha1.PhaseFailed, "boom")) }, ErrFailed},
		"its run is deleted": {func(s *server) { s.Remove("a") }, ErrCancelled},
		"its run is replaced": {func(s *server) {
			s.Cut()
			s.Remove("a")
			s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCompleted}))
			s.Forget()
		}, ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
				s.Put(receiptOf(a, "b"))
				w := startWait(t.Context(), s, "b")
				s.Remove("b")
				synctest.Wait()
				tc.after(s)
				outcome, err := w.result(t)
				mustEqual(t, "error", errors.Is(err, tc.want), true)
				mustEqual(t, "run", outcome.Run, *refTo(a))
				mustEqual(t, "output", outcome.Output != nil, tc.want == nil)
			})
		})
	}
}

// Wait also follows the run of a run that was displaced and became a receipt.
func TestWaitForAReceiptOfAReceiptThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
		b := s.Put(makeRun("b", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
		s.Put(receiptOf(b, "c"))
		w := startWait(t.Context(), s, "c")
		s.Remove("c")
		synctest.Wait()
		s.Change("b", func(run *v1alpha1.JobRun) { run.Status = receiptOf(a, "b").Status })
		synctest.Wait()
		s.Remove("b")
		synctest.Wait()
		s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		outcome, err := w.result(t)
		mustEqual(t, "completed", err, nil)
		mustEqual(t, "run", outcome.Run, *refTo(a))
	})
}

func TestWaitForARunThatIsDeleted(t *testing.T) {
	for name, tc := range map[string]struct {
		first func(*v1alpha1.JobRun)
		seen  bool
		want  error
	}{
		"before it ended":             {func(*v1alpha1.JobRun) {}, true, ErrCancelled},
		"after it ended":              {end(v1alpha1.PhaseCompleted, ""), true, nil},
		"unseen, so nothing is known": {end(v1alpha1.PhaseCompleted, ""), false, ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
				w := startWait(t.Context(), s, "a")
				s.Cut()
				s.Change("a", tc.first)
				s.Remove("a")
				if !tc.seen {
					s.Forget()
				}
				_, err := w.result(t)
				mustEqual(t, "error", errors.Is(err, tc.want), true)
			})
		})
	}
}

// Wait survives every fault of watches and of the API server, and pauses between attempts.
func TestWaitSurvives(t *testing.T) {
	status := apierrors.NewResourceExpired("too old").Status()
	internal := apierrors.NewInternalError(errors.New("decode")).Status()
	for name, disturb := range map[string]func(*server){
		"lost watches":      func(s *server) { s.Cut() },
		"an expired watch":  func(s *server) { s.Cut(watch.Event{Type: watch.Error, Object: &status}) },
		"an internal error": func(s *server) { s.Cut(watch.Event{Type: watch.Error, Object: &internal}) },
		"a watch that cannot be resumed": func(s *server) {
			s.Cut()
			s.Put(makeRun("other", v1alpha1.JobRunStatus{}))
			s.Forget()
		},
		"a watch that turns out not to be resumed": func(s *server) {
			s.TellsLate = true
			s.Cut()
			s.Put(makeRun("other", v1alpha1.JobRunStatus{}))
			s.Forget()
		},
		"a server that is down for an hour": func(s *server) { down(s, apiserver.Refused()) },
		"a server that starts":              func(s *server) { down(s, apierrors.NewServiceUnavailable("starting")) },
		"a server that is busy":             func(s *server) { down(s, apierrors.NewTooManyRequests("busy", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
				w := startWait(t.Context(), s, "a")
				disturb(s)
				s.Change("a", progressed(1))
				time.Sleep(time.Minute)
				s.Change("a", end(v1alpha1.PhaseCompleted, ""))
				if _, err := w.result(t); err != nil {
					t.Error(err)
				}
				mustEqual(t, "progress", fmt.Sprint(w.progress), "[1]")
				if lists, watches := s.lists(), s.watches(); lists+watches > 600 {
					t.Errorf("%d lists and %d watches", lists, watches)
				}
			})
		})
	}
}

func down(s *server, err error) {
	s.SetDown(err)
	s.Cut()
	time.Sleep(time.Hour)
	s.SetDown(nil)
}

// Wait pauses even if the API server ends every watch at once.
func TestWaitIsNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
		w := startWait(t.Context(), s, "a")
		for range 10 * 600 {
			s.Cut()
			time.Sleep(100 * time.Millisecond)
		}
		s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		if _, err := w.result(t); err != nil {
			t.Error(err)
		}
		if lists, watches := s.lists(), s.watches(); lists != 1 || watches > 100 {
			t.Errorf("%d lists and %d watches in ten minutes", lists, watches)
		}
	})
}

// After an event, the next pause is short again.
func TestWaitIsPromptAfterALongPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
		w := startWait(t.Context(), s, "a")
		down(s, apiserver.Refused())
		time.Sleep(time.Minute)
		s.Change("a", progressed(1))
		synctest.Wait()
		begun := time.Now()
		s.Cut()
		s.Change("a", end(v1alpha1.PhaseCompleted, ""))
		if _, err := w.result(t); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		a := s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := startWait(ctx, s, "a")
		s.SetDown(apiserver.Refused())
		s.Cut()
		outcome, err := w.result(t)
		mustEqual(t, "deadline", errors.Is(err, context.DeadlineExceeded), true)
		mustEqual(t, "text", err.Error(), "wait for JobRun a: context deadline exceeded (the last attempt failed: "+apiserver.Refused().Error()+")")
		mustEqual(t, "what is known", outcome.JobRun.UID, a.UID)
		mustEqual(t, "watches left open", s.Watches(), 0)
	})
}

// Without earlier contact, a refusal ends the wait at once. Else only repeated refusals do, because an API server that
// starts may refuse what it allows later.
func TestWaitEndsWithARefusal(t *testing.T) {
	forbidden := apierrors.NewForbidden(resource, "a", errors.New("no"))
	t.Run("at once", func(t *testing.T) {
		s := newServer()
		s.SetDown(forbidden)
		_, err := s.client().Wait(t.Context(), "a")
		mustEqual(t, "forbidden", apierrors.IsForbidden(err), true)
		mustEqual(t, "lists", s.lists(), 1)
	})
	for name, lasts := range map[string]time.Duration{"for good": time.Hour, "for a while": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.Put(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased}))
				w := startWait(t.Context(), s, "a")
				s.SetDown(forbidden)
				s.Cut()
				time.Sleep(lasts)
				s.SetDown(nil)
				s.Change("a", end(v1alpha1.PhaseCompleted, ""))
				_, err := w.result(t)
				mustEqual(t, "forbidden", apierrors.IsForbidden(err), lasts == time.Hour)
			})
		})
	}
}
