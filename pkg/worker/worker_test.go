// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// Keys of Server.Calls.
const (
	callClaim  = "update jobruns/status"
	callReport = "patch jobruns/status"
	callRenew  = "update leases"
)

func pendingRun(name string) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{Status: v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}}
	run.Name, run.UID, run.Spec.JobName = name, types.UID("uid-"+name), "sync"
	return run
}

// storedRun returns a run that was just stored.
func storedRun(name string) *v1alpha1.JobRun {
	run := pendingRun(name)
	run.Status.Phase = ""
	run.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated}
	return run
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// started runs a worker until the test ends or stop is called.
func started(t *testing.T, s *apiserver.Server, o Options, h Handler) (w *Worker, stop func() error) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w = New(s, o).Handle("sync", h)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return w, stop
}

func nothing(context.Context, *Run) (any, error) { return nil, nil }

// untilDone returns a handler that waits for its context to end and stores the cause.
func untilDone(cause *error) Handler {
	var mu sync.Mutex
	return func(ctx context.Context, _ *Run) (any, error) {
		<-ctx.Done()
		mu.Lock()
		defer mu.Unlock()
		*cause = context.Cause(ctx)
		return "late", nil
	}
}

func TestHandlerGetsTheRunAndItsOutputIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		run := pendingRun("a")
		run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)}
		s.Put(run)
		_, stop := started(t, s, Options{Identity: "w"}, func(ctx context.Context, run *Run) (any, error) {
			var in struct{ Org string }
			if err := run.Input(&in); err != nil {
				return nil, err
			}
			if err := run.Progress(ctx, 1, 2, "half"); err != nil {
				return nil, err
			}
			return map[string]any{"org": in.Org, "none": nil, "name": run.Name, "generation": run.Generation}, nil
		})
		time.Sleep(time.Second)
		a := s.Read("a")
		mustEqual(t, "phase", a.Status.Phase, v1alpha1.PhaseCompleted)
		mustEqual(t, "output", string(a.Status.Output.Raw), `{"generation":1,"name":"a","none":null,"org":"acme"}`)
		mustEqual(t, "progress", *a.Status.Progress.Current, 1)
		mustEqual(t, "holder", a.Status.Lease.HolderIdentity, "w")
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := map[string]int{"list jobruns": 1, "watch jobruns": 1, "create leases": 1, callClaim: 1, callReport: 2, "delete leases": 1}
		if got := s.Calls(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		handler Handler
		want    string
	}{
		"error":              {func(context.Context, *Run) (any, error) { return nil, errors.New("two\nlines") }, "two lines"},
		"no message":         {func(context.Context, *Run) (any, error) { return nil, errors.New("") }, "failed without a message"},
		"long":               {func(context.Context, *Run) (any, error) { return nil, errors.New(strings.Repeat("ü", 2000)) }, strings.Repeat("ü", 1023) + "…"},
		"panic":              {func(context.Context, *Run) (any, error) { panic("oh no") }, "panic: oh no"},
		"panics as JSON":     {func(context.Context, *Run) (any, error) { return explosive{}, nil }, "panic: boom"},
		"not as JSON":        {func(context.Context, *Run) (any, error) { return make(chan int), nil }, "encode the output: json: unsupported type: chan int"},
		"too large for etcd": {func(context.Context, *Run) (any, error) { return "huge", nil }, "the output cannot be stored: status.output must have at most 262144 bytes of JSON: etcdserver: request is too large"},
		"too large":          {func(context.Context, *Run) (any, error) { return "large", nil }, "the output cannot be stored: status.output must have at most 262144 bytes of JSON: Request entity too large: etcdserver: request is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.RefuseStatus = func(run *v1alpha1.JobRun) error {
					if run.Status.Output != nil && run.Status.Phase == v1alpha1.PhaseCompleted {
						if string(run.Status.Output.Raw) == `"huge"` {
							return &apierrors.StatusError{ErrStatus: metav1.Status{Message: "etcdserver: request is too large", Code: 500}}
						}
						return apierrors.NewRequestEntityTooLargeError("etcdserver: request is too large")
					}
					return nil
				}
				s.Put(pendingRun("a"))
				started(t, s, Options{}, test.handler)
				time.Sleep(2 * time.Second)
				a := s.Read("a")
				mustEqual(t, "phase", a.Status.Phase, v1alpha1.PhaseFailed)
				if !strings.HasSuffix(a.Status.Error, test.want[max(0, len(test.want)-60):]) {
					t.Errorf("error: got %q, want %q", a.Status.Error, test.want)
				}
			})
		})
	}
}

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("boom") }

func TestClaimsTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		base := time.Now()
		for i, name := range []string{"d", "b", "c", "a"} {
			run := pendingRun(name)
			run.CreationTimestamp = metav1.NewTime(base.Add(time.Duration(i/2) * time.Second))
			s.Put(run)
		}
		template := pendingRun("job")
		template.Spec.Template = &batchv1.JobTemplateSpec{}
		s.Put(template)
		var order []string
		started(t, s, Options{}, func(_ context.Context, run *Run) (any, error) {
			order = append(order, run.Name)
			return nil, nil
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := []string{"b", "d", "a", "c"}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
		mustEqual(t, "phase of one with a template", s.Read("job").Status.Phase, v1alpha1.PhasePending)
	})
}

func TestRenewsOneLeaseForAllAtAThirdOfTheShortest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		for i := range 100 {
			run := pendingRun(fmt.Sprintf("run-%d", i))
			if i == 7 {
				run.Spec.LeaseDurationSeconds = 9
			}
			s.Put(run)
		}
		var cause error
		started(t, s, Options{Concurrency: 100}, untilDone(&cause))
		time.Sleep(time.Second)
		before := s.Calls()
		time.Sleep(30 * time.Second)
		after := s.Calls()
		mustEqual(t, "renewals", after[callRenew]-before[callRenew], 10)
		mustEqual(t, "writes of runs", after[callReport], 0)
		mustEqual(t, "claims", after[callClaim], 100)
		synctest.Wait()
		if cause != nil {
			t.Error(cause)
		}
	})
}

func TestLosesTheLease(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*apiserver.Server)
		within  time.Duration
		want    error
	}{
		"taken by another": {func(s *apiserver.Server) {
			s.Change("a", func(run *v1alpha1.JobRun) {
				run.Status.Lease = &v1alpha1.RunLease{Generation: 3, HolderIdentity: "other"}
			})
		}, time.Millisecond, ErrLeaseLost},
		"fenced":  {func(s *apiserver.Server) { s.Change("a", fenced) }, time.Millisecond, ErrLeaseLost},
		"deleted": {func(s *apiserver.Server) { s.Remove("a") }, time.Millisecond, ErrLeaseLost},
		"ended": {func(s *apiserver.Server) {
			s.Change("a", func(run *v1alpha1.JobRun) { run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseFailed, 1 })
		}, time.Millisecond, ErrLeaseLost},
		"not renewed": {func(s *apiserver.Server) { s.SetDown(apiserver.Refused()) }, 31 * time.Second, ErrLeaseLost},
		"cancelled": {func(s *apiserver.Server) {
			s.Change("a", func(run *v1alpha1.JobRun) { run.Spec.Cancel = new(true) })
		}, time.Millisecond, ErrCancelled},
		"cancelled while the watch is cut": {func(s *apiserver.Server) {
			s.Change("a", func(run *v1alpha1.JobRun) {
				run.Spec.Cancel = new(true)
				run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseCancelled, 1
			})
			s.Forget() // Only a list can show the change.
		}, 2 * time.Second, ErrCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.Put(pendingRun("a"))
				var cause error
				started(t, s, Options{}, untilDone(&cause))
				time.Sleep(time.Second)
				if strings.Contains(name, "cut") {
					s.Cut()
				}
				test.happens(s)
				time.Sleep(test.within)
				synctest.Wait()
				if cause != test.want { //nolint:errorlint // as it is given
					t.Errorf("cause: got %v, want %v", cause, test.want)
				}
				mustEqual(t, "patches", s.Calls()[callReport], 0)
			})
		})
	}
}

func fenced(run *v1alpha1.JobRun) {
	run.Status.Phase, run.Status.Lease = v1alpha1.PhasePending, &v1alpha1.RunLease{Generation: run.LeaseGeneration() + 1}
}

// While a handler goes on after its lease is lost, no other handler of its run or key starts in the same process. When it
// ends, the next lease stays.
func TestClaimsNoRunThatItStillExecutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		for name, key := range map[string]string{"a": "k", "b": "k", "c": ""} {
			run := pendingRun(name)
			run.Spec.ConcurrencyKey = key
			if name == "b" {
				run.Status.Phase = ""
			}
			s.Put(run)
		}
		var mu sync.Mutex
		executing, worst := map[string]int{}, 0
		started(t, s, Options{Concurrency: 3}, func(_ context.Context, run *Run) (any, error) {
			mu.Lock()
			what := cmp.Or(run.ConcurrencyKey, run.Name)
			executing[what]++
			worst = max(worst, executing[what])
			mu.Unlock()
			if run.Generation == 1 && run.Name == "a" {
				time.Sleep(10 * time.Second) // It ignores its context.
			} else {
				time.Sleep(2 * time.Minute)
			}
			mu.Lock()
			defer mu.Unlock()
			executing[what]--
			return run.Generation, nil
		})
		time.Sleep(time.Second)
		s.Change("a", func(r *v1alpha1.JobRun) { r.Status.Phase = v1alpha1.PhaseFailed; r.Status.FinishedGeneration = 1 })
		s.Change("b", func(r *v1alpha1.JobRun) { r.Status.Phase = v1alpha1.PhasePending })
		time.Sleep(5 * time.Second)
		mustEqual(t, "phase of the next of its key", s.Read("b").Status.Phase, v1alpha1.PhasePending)
		time.Sleep(10 * time.Second)
		s.Change("b", fenced)
		s.Change("c", fenced)
		time.Sleep(time.Minute)
		mustEqual(t, "phase of the fenced run", s.Read("b").Status.Phase, v1alpha1.PhasePending)
		mustEqual(t, "phase of the one without a key", s.Read("c").Status.Phase, v1alpha1.PhasePending)
		time.Sleep(4 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		mustEqual(t, "executing at once", worst, 1)
		for _, name := range []string{"b", "c"} {
			mustEqual(t, "phase", s.Read(name).Status.Phase, v1alpha1.PhaseCompleted)
			mustEqual(t, "generation", string(s.Read(name).Status.Output.Raw), "3")
		}
	})
}

func TestOutlivesAnOutageShorterThanTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.Put(pendingRun("a"))
		done := make(chan struct{})
		started(t, s, Options{}, func(context.Context, *Run) (any, error) { <-done; return "fine", nil })
		time.Sleep(time.Second)
		s.SetDown(apiserver.Refused())
		s.Cut()
		close(done)
		time.Sleep(20 * time.Second)
		s.SetDown(nil)
		time.Sleep(15 * time.Second)
		mustEqual(t, "phase", s.Read("a").Status.Phase, v1alpha1.PhaseCompleted)
		s.Put(pendingRun("b"))
		time.Sleep(15 * time.Second)
		mustEqual(t, "phase of the next", s.Read("b").Status.Phase, v1alpha1.PhaseCompleted)
	})
}

func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.LoseStatus()
		s.Put(pendingRun("a"))
		calls := 0
		started(t, s, Options{}, func(context.Context, *Run) (any, error) {
			calls++
			s.LoseStatus()
			return "fine", nil
		})
		time.Sleep(10 * time.Second)
		a := s.Read("a")
		mustEqual(t, "phase", a.Status.Phase, v1alpha1.PhaseCompleted)
		mustEqual(t, "generation", a.Status.Lease.Generation, 1)
		synctest.Wait()
		mustEqual(t, "calls of the handler", calls, 1)
	})
}

func TestShutdown(t *testing.T) {
	for name, test := range map[string]struct {
		handler Handler
		want    v1alpha1.Phase
		holder  string
		took    time.Duration
		fails   bool
	}{
		"waits for what is short": {func(context.Context, *Run) (any, error) { time.Sleep(20 * time.Second); return nil, nil }, v1alpha1.PhaseCompleted, "w", 20 * time.Second, false},
		"gives back what is long": {func(ctx context.Context, _ *Run) (any, error) { <-ctx.Done(); return nil, context.Cause(ctx) }, v1alpha1.PhaseLeased, "", 30 * time.Second, false},
		"reports what ends well":  {func(ctx context.Context, _ *Run) (any, error) { <-ctx.Done(); return nil, nil }, v1alpha1.PhaseCompleted, "w", 30 * time.Second, false},
		"leaves what does not end": {func(context.Context, *Run) (any, error) { time.Sleep(time.Minute); return nil, nil },
			v1alpha1.PhaseLeased, "w", 40 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.Put(pendingRun("a"))
				_, stop := started(t, s, Options{Identity: "w"}, func(ctx context.Context, run *Run) (any, error) { return test.handler(ctx, run) })
				time.Sleep(200 * time.Millisecond)
				begin := time.Now()
				go func() {
					time.Sleep(time.Second)
					s.Put(pendingRun("b"))
				}()
				err := stop()
				mustEqual(t, "fails", err != nil, test.fails)
				if took := time.Since(begin); took < test.took-time.Second || took > test.took+time.Second {
					t.Errorf("took %v, want %v", took, test.took)
				}
				a := s.Read("a")
				mustEqual(t, "phase", a.Status.Phase, test.want)
				mustEqual(t, "holder", a.Status.Lease.HolderIdentity, test.holder)
				mustEqual(t, "phase of what came later", s.Read("b").Status.Phase, v1alpha1.PhasePending)
				mustEqual(t, "Lease left", s.Stored(apiserver.Leases) == 1, test.fails)
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestGivesBackWhatAnEarlierProcessLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		left := pendingRun("a")
		left.Status.Phase, left.Status.Lease = v1alpha1.PhaseLeased, &v1alpha1.RunLease{HolderIdentity: "w", Generation: 4, KeyVersion: "7"}
		s.Put(left)
		started(t, s, Options{Identity: "w"}, nothing)
		time.Sleep(time.Second)
		mustEqual(t, "lease", *s.Read("a").Status.Lease, v1alpha1.RunLease{Generation: 5, KeyVersion: "7"})
	})
}

// The worker's Lease would keep a run alive that the worker has given up by its own clock.
func TestGivesBackWhatItsClockLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.Put(pendingRun("a"))
		started(t, s, Options{Identity: "w"}, func(ctx context.Context, _ *Run) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		time.Sleep(time.Second)
		s.SetDown(apiserver.Refused())
		s.Cut()
		time.Sleep(40 * time.Second)
		s.SetDown(nil)
		time.Sleep(20 * time.Second)
		lease := s.Read("a").Status.Lease
		mustEqual(t, "generation", lease.Generation, 2)
		mustEqual(t, "holder", lease.HolderIdentity, "")
	})
}

// The claim was stored, and the worker stopped waiting for its answer.
func TestGivesBackWhatItDoesNotKnowToHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.LoseStatus()
		goDown := sync.OnceFunc(func() { time.AfterFunc(time.Millisecond, func() { s.SetDown(apiserver.Refused()) }) })
		s.RefuseStatus = func(*v1alpha1.JobRun) error { // The claim is the last request before the server goes down.
			goDown()
			return nil
		}
		s.Put(pendingRun("a"))
		started(t, s, Options{Identity: "w"}, func(context.Context, *Run) (any, error) {
			t.Error("it executes")
			return nil, nil
		})
		time.Sleep(time.Second)
		mustEqual(t, "holder", s.Read("a").Status.Lease.HolderIdentity, "w")
		time.Sleep(40 * time.Second)
		s.SetDown(nil)
		time.Sleep(20 * time.Second)
		mustEqual(t, "holder once it is known", s.Read("a").Status.Lease.HolderIdentity, "")
	})
}

// Each time a worker gives a run back, it waits longer before it claims the run again.
func TestGivesBackAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.Put(pendingRun("a"))
		var calls atomic.Int32
		started(t, s, Options{}, func(context.Context, *Run) (any, error) {
			calls.Add(1)
			return nil, ErrGiveBack
		})
		for range 600 { // The operator makes the run wait again.
			if lease := s.Read("a").Status.Lease; lease != nil && lease.HolderIdentity == "" && s.Read("a").Status.Phase == v1alpha1.PhaseLeased {
				s.Change("a", func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhasePending })
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := calls.Load(); n < 3 || n > 8 {
			t.Errorf("%d calls in a minute", n)
		}
	})
}

// The queue keeps nothing of a run that ended while it was claimed.
func TestQueueForgets(t *testing.T) {
	q := newQueue()
	run := pendingRun("a")
	q.refuse(run, time.Now())
	q.decline(run, time.Now())
	q.put(run)
	q.refuse(run, time.Now())
	q.decline(run, time.Now())
	mustEqual(t, "remembered", len(q.refused)+len(q.declined), 2)
	q.remove(idOf(run))
	mustEqual(t, "remembered of what is gone", len(q.refused)+len(q.declined), 0)
}

// A run that this worker has claimed is not claimed again before the watch shows the claim.
func TestClaimedBeforeItIsSeen(t *testing.T) {
	for name, run := range map[string]*v1alpha1.JobRun{"announced": pendingRun("a"), "not announced": storedRun("a")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.Put(run)
				w := New(s, Options{Logger: slog.New(slog.DiscardHandler)})
				seen := s.Read("a")
				w.queue.put(seen)
				if w.claim(t.Context(), seen) == nil {
					t.Fatal("the claim failed")
				}
				mustEqual(t, "phase in the queue", w.queue.runs[idOf(seen)].Status.Phase, v1alpha1.PhaseLeased)
			})
		})
	}
}

// A claim that was refused because the operator announced the run first is sent again at once.
func TestQueueAfterAnAnnouncement(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		seen v1alpha1.Phase
		want bool
	}{"announced": {v1alpha1.PhasePending, true}, "claimed by another worker": {v1alpha1.PhaseLeased, false}} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			q.idle, q.jitter = false, func(atMost time.Duration) time.Duration { return atMost }
			run, seen, next := storedRun("a"), storedRun("a"), pendingRun("b")
			run.ResourceVersion, seen.ResourceVersion, seen.Status.Phase = "1", "2", tc.seen
			q.put(seen)
			q.put(next)
			q.refuse(run, now)
			best, _ := q.next(now)
			mustEqual(t, "claims at once", best != nil, tc.want)
		})
	}
}

// requeue makes runs that were given back wait again, as the operator does.
func requeue(s *apiserver.Server, d time.Duration, names ...string) {
	for range d / time.Second {
		time.Sleep(time.Second)
		for _, name := range names {
			if run := s.Read(name); run.Status.Lease != nil && run.Status.Lease.HolderIdentity == "" {
				s.Change(name, func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhasePending })
			}
		}
	}
}

func TestTwoProcessesWithOneIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.Put(pendingRun("a"))
		var first, second error
		_, stop := started(t, s, Options{Identity: "w"}, untilDone(&first))
		time.Sleep(6 * time.Second)
		started(t, s, Options{Identity: "w"}, untilDone(&second))
		time.Sleep(100 * time.Millisecond)
		s.Put(pendingRun("b"))
		time.Sleep(time.Second)
		synctest.Wait()
		if first != ErrLeaseLost { //nolint:errorlint // as it is given
			t.Errorf("the first one's handler ended for %v", first)
		}
		requeue(s, 30*time.Second, "a", "b")
		if err := stop(); !errors.Is(err, ErrIdentityTaken) {
			t.Errorf("the first one ended with %v", err)
		}
	})
}

// The first process has claimed nothing yet.
func TestAnIdleProcessLeavesItsIdentityToALaterOne(t *testing.T) {
	for range 20 { // Either process may claim the run.
		synctest.Test(t, func(t *testing.T) {
			s := apiserver.New()
			slowly := func(ctx context.Context, _ *Run) (any, error) {
				select {
				case <-ctx.Done():
					return nil, ErrGiveBack
				case <-time.After(time.Minute):
					return nil, nil
				}
			}
			_, stopFirst := started(t, s, Options{Identity: "w"}, slowly)
			time.Sleep(time.Second)
			_, stopSecond := started(t, s, Options{Identity: "w"}, slowly)
			time.Sleep(time.Second)
			s.Put(pendingRun("a"))
			requeue(s, 45*time.Second, "a")
			if err := stopFirst(); !errors.Is(err, ErrIdentityTaken) {
				t.Errorf("the first one ended with %v", err)
			}
			if err := stopSecond(); err != nil {
				t.Errorf("the second one ended with %v", err)
			}
		})
	}
}

// The earlier process removes the Lease when it ends, just after the later one has seen it.
func TestTakesOverALeaseThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.SetLatency(10 * time.Millisecond)
		_, stop := started(t, s, Options{Identity: "w"}, nothing)
		time.Sleep(time.Second)
		started(t, s, Options{Identity: "w"}, nothing)
		time.Sleep(5 * time.Millisecond)
		mustEqual(t, "the earlier one's error", stop(), nil)
		s.Put(pendingRun("a"))
		time.Sleep(10 * time.Second)
		mustEqual(t, "phase", s.Read("a").Status.Phase, v1alpha1.PhaseCompleted)
	})
}

func TestGoesOnWithoutItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		started(t, s, Options{Identity: "w"}, func(ctx context.Context, _ *Run) (any, error) {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Minute):
				return "done", nil
			}
		})
		time.Sleep(time.Second)
		mustEqual(t, "deleted", s.Delete(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "w"}}), nil)
		s.Put(pendingRun("a"))
		time.Sleep(2 * time.Minute)
		mustEqual(t, "phase", s.Read("a").Status.Phase, v1alpha1.PhaseCompleted)
		mustEqual(t, "generation", s.Read("a").Status.Lease.Generation, 1)
	})
}

func TestStartsNothingUnderALeaseThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		var calls atomic.Int32
		started(t, s, Options{LeaseDuration: 2 * time.Second}, func(context.Context, *Run) (any, error) { calls.Add(1); return nil, nil })
		time.Sleep(time.Second)
		s.SetLatency(3 * time.Second)
		s.Put(pendingRun("a"))
		time.Sleep(20 * time.Second)
		mustEqual(t, "calls of the handler", calls.Load(), 0)
		if run := s.Read("a"); run.Status.Phase != v1alpha1.PhaseLeased || run.Status.Lease.HolderIdentity != "" {
			t.Errorf("not given back: %+v", run.Status)
		}
	})
}

// skewed is a clock that is wrong.
type skewed struct {
	clock.RealClock

	by time.Duration
}

func (c skewed) Now() time.Time                  { return time.Now().Add(c.by) }
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func TestAClockThatIsOffChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.Put(pendingRun("a"))
		started(t, s, Options{Clock: skewed{by: -time.Hour}}, func(context.Context, *Run) (any, error) { time.Sleep(5*time.Minute - 5*time.Second); return nil, nil })
		time.Sleep(6 * time.Minute)
		mustEqual(t, "phase", s.Read("a").Status.Phase, v1alpha1.PhaseCompleted)
		mustEqual(t, "renewals", s.Calls()[callRenew], 29)
	})
}

func TestARunOfATakenKeyIsNotClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		a, b := pendingRun("a"), pendingRun("b")
		a.Spec.ConcurrencyKey, b.Spec.ConcurrencyKey = "k", "k"
		a.Status.Phase, a.Status.Lease = v1alpha1.PhaseLeased, &v1alpha1.RunLease{HolderIdentity: "other", Generation: 1}
		s.Put(a)
		s.Put(b)
		started(t, s, Options{}, nothing)
		time.Sleep(time.Minute)
		mustEqual(t, "claims", s.Calls()[callClaim], 0)
		s.Change("a", func(run *v1alpha1.JobRun) {
			run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseCompleted, 1
		})
		time.Sleep(200 * time.Millisecond)
		mustEqual(t, "phase", s.Read("b").Status.Phase, v1alpha1.PhaseCompleted)
	})
}

func TestAKeyThatIsReleasedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		release := time.Now().Add(3 * time.Second)
		s.RefuseStatus = func(run *v1alpha1.JobRun) error {
			if run.Status.Phase == v1alpha1.PhaseLeased && time.Now().Before(release) {
				return apierrors.NewConflict(apiserver.JobRuns, run.Name, nil)
			}
			return nil
		}
		s.Put(pendingRun("a"))
		started(t, s, Options{}, nothing)
		time.Sleep(10 * time.Second)
		mustEqual(t, "phase", s.Read("a").Status.Phase, v1alpha1.PhaseCompleted)
		if claims := s.Calls()[callClaim]; claims > 6 {
			t.Errorf("%d claims", claims)
		}
	})
}

func TestARefusalAtTheStartIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.SetDown(apierrors.NewForbidden(apiserver.JobRuns, "", errors.New("no")))
		err := New(s, Options{}).Handle("sync", nothing).Run(t.Context())
		mustEqual(t, "forbidden", apierrors.IsForbidden(err), true)
		for _, w := range []*Worker{New(s, Options{}), New(s, Options{Identity: "Not a name"}).Handle("sync", nothing)} {
			if w.Run(t.Context()) == nil {
				t.Error("want an error")
			}
		}
	})
}

// When many runs end at once, only a few reports are in flight.
func TestReportsInTurn(t *testing.T) {
	const runs = 100
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		for i := range runs {
			s.Put(pendingRun(fmt.Sprintf("run-%d", i)))
		}
		end := make(chan struct{})
		started(t, s, Options{Concurrency: runs}, func(context.Context, *Run) (any, error) { <-end; return nil, nil })
		time.Sleep(time.Minute)
		s.SetLatency(10 * time.Millisecond)
		close(end)
		time.Sleep(time.Second)
		mustEqual(t, "reports in flight", s.MostInFlight(callReport), reportsInFlight)
		for i := range runs {
			mustEqual(t, "phase", s.Read(fmt.Sprintf("run-%d", i)).Status.Phase, v1alpha1.PhaseCompleted)
		}
	})
}

// TestStampede measures what one run costs 50 idle workers when a request and an event take 10 ms each.
func TestStampede(t *testing.T) {
	const rounds = 20
	synctest.Test(t, func(t *testing.T) {
		s := apiserver.New()
		s.SetLatency(10 * time.Millisecond)
		for range 50 {
			started(t, s, Options{}, func(context.Context, *Run) (any, error) { time.Sleep(time.Second); return nil, nil })
		}
		time.Sleep(time.Minute)
		idle := s.Calls()
		time.Sleep(time.Hour)
		if got := s.Calls(); fmt.Sprint(got) != fmt.Sprint(idle) {
			t.Errorf("idle for an hour: %v, then %v", idle, got)
		}
		most, claims := 0, 0
		for i := range rounds {
			before := s.Calls()
			s.Put(pendingRun(fmt.Sprintf("run-%d", i)))
			time.Sleep(time.Minute)
			after := s.Calls()
			calls := 0
			for call, n := range after {
				calls += n - before[call]
			}
			claims += after[callClaim] - before[callClaim]
			most = max(most, calls)
		}
		t.Logf("one run and 50 idle workers: %.1f claims on average, at most %d calls", float64(claims)/rounds, most)
		if most > 51 {
			t.Errorf("%d calls for one run", most)
		}
		if claims > 25*rounds {
			t.Errorf("%d claims of %d runs", claims, rounds)
		}
		for i := range rounds {
			mustEqual(t, "phase", s.Read(fmt.Sprintf("run-%d", i)).Status.Phase, v1alpha1.PhaseCompleted)
		}
	})
}
