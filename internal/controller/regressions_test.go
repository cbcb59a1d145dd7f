// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// P1, P12: a promoted receipt stays a run after it loses its waiting place. Other receipts are bound to it and would
// otherwise wait for its outcome for ever.
func TestRunsStayRuns(t *testing.T) {
	absorbed := func() *wrappers.JobRunWrapper { return answered("s", "gone", "10").Age(1).BoundTo("r") }
	unseated := answered("r", "gone", "10").Pending().Phase("").Counted("s")
	bypassed := stored("r").Skip().Pending().Phase("").Counted("s")
	for name, tc := range map[string]struct {
		given []client.Object
		want  string
	}{
		"its place was another's": {
			given: and(waitingBehind(made("b").Age(3).Pending()), of(unseated.Obj(), absorbed().Obj())),
			want:  "r: -, count 1 [s]",
		},
		"it was stored without the webhook, and its place was another's": {
			given: and(waitingBehind(made("b").Age(3).Pending()), of(bypassed.Obj(), absorbed().Obj())),
			want:  "r: -, count 1 [s]",
		},
		"it lost its lease": {
			given: and(of(makeKey("k").Leased("a", 1, "9").Pending("b").Obj(), made("b").Age(3).Pending().Obj(), absorbed().Obj(),
				answered("r", "gone", "4").Leased(1, "5").Counted("s").Obj()), executing(made("a"), 1, "9")),
			want: "r: -, g2<5, no holder, attempts 1, count 1 [s]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			c.rest(nil)
			if got := c.formatState(); !strings.Contains(got, tc.want) {
				t.Errorf("want %q in\n%s", tc.want, got)
			}
		})
	}
	t.Run("it is cancelled, and the controller stops", func(t *testing.T) {
		c := newScene(t, and(of(makeKey("k").Leased("a", 1, "5").Pending("r").Obj(), made("b").Age(3).Obj(), absorbed().Obj(),
			answered("r", "gone", "10").Cancel().Pending().Counted("s").Obj()), executing(made("a"), 1, "5"))...)
		crashes{leased: 1, seen: map[string]bool{}, want: oneSpace(`key: pending=b leased=a g1
			a: Leased, g1
			r: Cancelled, count 1 [s], Cancelled=Cancelled, "cancelled on request"
			s: Coalesced, of r, Cancelled=Cancelled, "cancelled on request"
			b: Pending
			job a-1: runs`)}.check(t, c, 2)
	})
}

// P8, I3: a counted receipt is bound to the run that counted it, whatever happens between the count and the binding.
func TestCountedIsBoundFirst(t *testing.T) {
	decisions{
		"stored without the webhook; the run that counted it executes": {
			given: and(of(makeKey("k").Leased("b", 1, "10").Obj(), stored("y").Skip().Obj()), executing(made("b").Counted("y"), 1, "10")),
			want:  "bind-counted: CheckKey; CheckRun(b); WriteStatus(y, Coalesced, of b)",
		},
		"stored without the webhook; the run that counted it executes, another waits": {
			given: and(of(makeKey("k").Leased("b", 1, "10").Pending("c").Obj(), made("c").Pending().Obj(), stored("y").Skip().Obj()), executing(made("b").Counted("y"), 1, "10")),
			want:  "bind-counted: CheckKey; CheckRun(b); WriteStatus(y, Coalesced, of b)",
		},
		"it came to own its idempotency key meanwhile": {
			given: and(waitingBehind(made("x").Pending().Counted("r")), of(answered("r", "gone", "10").IdempotencyKey("i").Obj(), makeIdempotencyKey("i").Owner("r").Obj())),
			want:  "bind-counted: CheckKey; CheckRun(x); WriteStatus(r, Coalesced, of x)",
		},
	}.run(t)
	t.Run("the run that counted it ends at once", func(t *testing.T) {
		c := newScene(t, makeKey("k").Pending("y").Obj(), made("y").Counted("r").Obj(), answered("r", "gone", "4").Obj())
		c.refuse = &decision.Refusal{Final: true, Message: "no such field"}
		c.rest(nil)
		if got := c.run("r").Status; got.Phase != v1alpha1.PhaseCoalesced || got.RunRef.Name != "y" {
			t.Errorf("\n%s", c.formatState())
		}
	})
}

// P10, P1: an idempotency key does not stay with a receipt.
func TestIdempotencyKeyOfAReceipt(t *testing.T) {
	s := idempotency(t, false, makeIdempotencyKey("i").Owner("r").Obj(),
		answered("r", "gone", "10").IdempotencyKey("i").BoundTo("x").Obj(), made("x").Pending().Obj())
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(x); SwapKey(owner=x)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
}

// I6: an idempotency key stays busy while a trigger that was accepted with it is undecided. Here the run that the trigger
// was answered with became a receipt itself.
func TestIdempotencyKeyOfAnUndecidedReceipt(t *testing.T) {
	s := idempotency(t, false, makeIdempotencyKey("i").Owner("a").Obj(),
		answered("r", "a", "10").IdempotencyKey("i").Obj(), answered("a", "gone", "4").BoundTo("x").Obj())
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(r); SwapKey(owner=r)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
}

// P2: a claim is evidence even if its lease was never stored. The receipts share the outcome of the run that started, and
// are not promoted one by one.
func TestEvidenceOfAClaimThatWasNotStored(t *testing.T) {
	decisions{
		"the Job is invalid": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) {
					o.Executions[wrappers.UIDOf("a")].Refused = &decision.Refusal{Final: true, Message: "no such field"}
				}
			},
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, g1<5, no holder, finished g1, Failed=InvalidJob, "no such field");
				Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"it is cancelled": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Pending().Cancel().Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want: `follow-lease: StopRun(a g1); CheckKey; WriteStatus(a, Cancelled, g1<5, no holder, finished g1, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
	}.run(t)
	c := newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj(), answered("r", "a", "10").Obj())
	c.refuse = &decision.Refusal{Final: true, Message: "no such field"}
	c.rest(nil)
	if got := c.run("r").Status; got.Phase != v1alpha1.PhaseCoalesced {
		t.Errorf("\n%s", c.formatState())
	}
}

// I5: an expiry goes on if the key is deleted in the middle of it.
func TestExpiryGoesOnWithoutTheKey(t *testing.T) {
	for name, tc := range map[string]struct {
		given []client.Object
		want  string
	}{
		"no run waits": {
			given: of(makeRun("a").Key("k").Created().Leased(1, "5").Fenced().Obj()),
			want:  "key: pending=a g2 a: Pending, g2<5, no holder, attempts 1",
		},
		"another waits": {
			given: of(makeRun("a").Key("k").Created().Leased(1, "5").Fenced().Obj(), makeKey("k").Pending("b").Obj(), makeRun("b").Key("k").Created().Obj()),
			want: `key: pending=b a: Failed, g2<5, no holder, finished g2, attempts 1, Failed=LeaseExpired, "Lease expired; pending run b already exists"
				b: Pending`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			c.rest(nil)
			if got := oneSpace(c.formatState()); got != oneSpace(tc.want) {
				t.Errorf("at rest\n got %s\nwant %s", got, oneSpace(tc.want))
			}
		})
	}
}

// I1, I5: after the key was deleted, the run that reads Pending gets its waiting place back before the lease of another
// run expires.
func TestReseatBeforeExpiry(t *testing.T) {
	c := newScene(t, made("a").Leased(1, "5").Obj(), made("b").Pending().Obj())
	c.rest(func(c *scene, plan decision.Plan) {
		if n := c.count(v1alpha1.PhasePending); n > 1 {
			t.Errorf("%d runs read Pending before %s", n, plan)
		}
	})
	if got := c.run("a").Status.Error; got != "Lease expired; pending run b already exists" {
		t.Errorf("\n%s", c.formatState())
	}
}

// A run ends even if its message is too long for a condition.
func TestLongMessagesAreCut(t *testing.T) {
	c := newScene(t, makeKey("k").Pending("a").Obj(), made("a").Obj())
	c.refuse = &decision.Refusal{Final: true, Message: strings.Repeat("é", 40000)}
	c.rest(nil)
	if got := c.run("a").Status.Phase; got != v1alpha1.PhaseFailed {
		t.Errorf("phase %s", got)
	}
}

// A decision takes its time from the snapshot, not from a clock.
func TestBindingHappensNow(t *testing.T) {
	c := newScene(t, and(waitingBehind(made("b").Pending()), of(answered("r", "b", "10").Obj()))...)
	c.rest(nil)
	if diff := cmp.Diff(now, meta.FindStatusCondition(c.run("r").Status.Conditions, v1alpha1.ConditionCoalesced).LastTransitionTime); diff != "" {
		t.Errorf("lastTransitionTime (-want +got):\n%s", diff)
	}
}

// A user with access to statuses may write a phase without a runRef.
func TestPhaseWithoutRunRef(t *testing.T) {
	c := newScene(t, waitingBehind(made("b").Pending())...)
	o := c.observe()
	x := made("x").Phase(v1alpha1.PhaseCoalesced).Obj()
	o.Runs, o.Relisted = append(o.Runs, x), append(o.Relisted, x)
	if got := decision.Decide(decision.NewSnapshot(o)).String(); got != "" {
		t.Errorf("plan %s", got)
	}
	s := idempotency(t, false, nil, delivered("q", "b").Phase(v1alpha1.PhaseIdempotent).Obj())
	if got := decision.DecideIdempotencyKey(s).String(); got != "" {
		t.Errorf("plan %s", got)
	}
}

// A promoted receipt that has absorbed others, and is not announced yet, stays a run.
func TestRunsStayRunsUnannounced(t *testing.T) {
	c := newScene(t, and(waitingBehind(made("b").Age(3).Pending()), of(answered("r", "gone", "10").Counted("s").Obj(),
		answered("s", "gone", "10").Age(1).BoundTo("r").Obj()))...)
	c.rest(nil)
	if got, want := c.formatState(), "r: -, count 1 [s]"; !strings.Contains(got, want) {
		t.Errorf("want %q in\n%s", want, got)
	}
}

// I2, P10: a receipt that was cancelled before it became a run does not inherit an idempotency key. Otherwise the other
// deliveries would end Cancelled with it.
func TestCancelledReceiptDoesNotInheritTheKey(t *testing.T) {
	cancelled := delivered("d", "gone").Key("other").Cancel().Ended(v1alpha1.PhaseCancelled).Obj()
	waits := answered("t", "gone", "10").IdempotencyKey("i").Age(1).Obj()
	s := idempotency(t, false, makeIdempotencyKey("i").Owner("gone").Obj(), cancelled, waits)
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(t); SwapKey(owner=t)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
	started := delivered("d", "gone").Key("other").Cancel().Leased(1, "5").Ended(v1alpha1.PhaseCancelled).Obj()
	s = idempotency(t, false, makeIdempotencyKey("i").Owner("gone").Obj(), started, waits)
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(d); SwapKey(owner=d)"; got != want {
		t.Errorf("it has executed: plan %q, want %q", got, want)
	}
}

// I5: a lost lease counts as one attempt, even if it had already expired and was fenced.
func TestLeaseIsLostOnce(t *testing.T) {
	c := newScene(t, and(of(makeKey("k").Leased("b", 1, "9").Obj(), made("a").MaxAttempts(2).Leased(1, "5").Fenced().Obj()),
		executing(made("b").Age(1), 1, "9"))...)
	c.rest(nil)
	expectState(t, c.formatState(), `key: pending=a g3 leased=b g1<9
		a: Pending, g3<5, no holder, attempts 1
		b: Leased, g1<9
		job b-1: runs`)
}

// P8, I3: a trigger that was stored without the webhook is also bound before the run that counted it can end and be
// deleted.
func TestCountedWithoutTheWebhookIsMarkedBeforeItsRunEnds(t *testing.T) {
	done := makeJob(made("a").Obj(), 1).Complete().Obj()
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), made("a").Counted("r").Leased(1, "5").Obj(), done, stored("r").Skip().Obj())
	c.rest(nil)
	expectState(t, c.formatState(), `key: free
		a: Completed, g1<5, finished g1, count 1 [r], Complete=Completed
		r: Coalesced, of a, Complete=Completed
		job a-1: Complete`)
}

// I3, P8: receipts whose status cannot be written are counted once, however often the controller finds them. Their
// entries stay in recent.
func TestUnwritableReceiptsAreCountedOnce(t *testing.T) {
	refuse := func(b bench, receipts func(name string) bool) {
		b.store.Before = func(verb string, o client.Object) error {
			if verb == "status" && receipts(o.GetName()) {
				return apierrors.NewInternalError(errors.New("etcdserver: request is too large"))
			}
			return nil
		}
	}
	counted := func(t *testing.T, b bench) *v1alpha1.CoalescedTriggers {
		t.Helper()
		run := &v1alpha1.JobRun{}
		for range 6 {
			if _, err := b.Reconcile(t.Context(), home); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(made("a").Obj()), run); err != nil {
			t.Fatal(err)
		}
		return run.Status.Coalesced
	}
	names := make([]string, v1alpha1.MaxRecent)
	for i := range names {
		names[i] = fmt.Sprintf("r%02d", i)
	}
	t.Run("one, among as many as recent holds", func(t *testing.T) {
		worker := makeRun("a").Key("k").Created().Pending()
		given := of(makeKey("k").Pending("a").Obj(), worker.Counted(names...).Obj(), answered("late", "a", "4").Age(99).Obj(), answered(names[0], "a", "4").Obj())
		for i, name := range names[1:] {
			given = append(given, answered(name, "a", "4").Age(i+1).BoundTo("a").Obj())
		}
		b := newBench(given...)
		refuse(b, func(name string) bool { return name == names[0] })
		got := counted(t, b)
		if got.Count != v1alpha1.MaxRecent+1 || !slices.ContainsFunc(got.Recent, func(e v1alpha1.CoalescedTrigger) bool { return e.Name == names[0] }) {
			t.Errorf("count %d, recent %v", got.Count, got.Recent)
		}
	})
	t.Run("more than recent holds", func(t *testing.T) {
		given := of(makeKey("k").Pending("a").Obj(), makeRun("a").Key("k").Created().Pending().Obj())
		for i := range v1alpha1.MaxRecent + 8 {
			given = append(given, answered(fmt.Sprintf("r%02d", i), "a", "4").Age(i+1).Obj())
		}
		b := newBench(given...)
		refuse(b, func(name string) bool { return name != "a" })
		if got := counted(t, b); got.Count != v1alpha1.MaxRecent {
			t.Errorf("count %d, want %d", got.Count, v1alpha1.MaxRecent)
		}
	})
}

// I6, P10: the idempotency key of an absorbed trigger passes from its run to the run that displaced that one. The key is
// never free in between.
func TestIdempotencyKeyOfADisplacedRun(t *testing.T) {
	displaced := made("d").Skip().Age(1).BoundTo("a").Phase(v1alpha1.PhaseCoalesced).Obj()
	absorbed := answered("x", "d", "4").IdempotencyKey("i").Age(2).BoundTo("d").Obj()
	s := idempotency(t, false, makeIdempotencyKey("i").Owner("d").Obj(), made("a").Requeue().Pending().Counted("d").Obj(), displaced, absorbed)
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(a); SwapKey(owner=a)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
}
