// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// waitingBehind returns a key that leases a run for the whole test, so that "b" keeps waiting.
func waitingBehind(b *wrappers.JobRunWrapper) []client.Object {
	return and(of(makeKey("k").Leased("a", 1, "5").Pending(b.Name).Obj(), b.Obj()), executing(made("a"), 1, "5"))
}

func TestCountReceipts(t *testing.T) {
	decisions{
		"one receipt": {
			given: and(waitingBehind(made("b").Pending()), of(answered("r", "b", "10").Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(b, Pending, count 1 [r]); Emit(RunCoalesced b<-r); WriteStatus(r, Coalesced, of b)",
		},
		"many receipts in one write": {
			given: and(waitingBehind(made("b").Pending().Counted("q")),
				of(answered("r2", "b", "10").Age(2).Obj(), answered("r1", "b", "10").Age(1).Obj(), answered("q", "b", "10").BoundTo("b").Obj())),
			want: `count-receipts: CheckKey; WriteStatus(b, Pending, count 3 [q r1 r2]); Emit(RunCoalesced b<-r1); Emit(RunCoalesced b<-r2);
				WriteStatus(r1, Coalesced, of b); WriteStatus(r2, Coalesced, of b)`,
		},
		"more receipts than have an event each": {
			given: and(waitingBehind(made("b").Pending().Counted("q1", "q2", "q3", "q4")),
				of(answered("r2", "b", "10").Age(2).Obj(), answered("r1", "b", "10").Age(1).Obj(), answered("r3", "b", "10").Age(3).Obj())),
			want: `count-receipts: CheckKey; WriteStatus(b, Pending, count 7 [q1 q2 q3 q4 r1 r2 r3]); Emit(RunCoalesced b<-r1);
				Emit(RunCoalesced b<-r3 x2); WriteStatus(r1, Coalesced, of b); WriteStatus(r2, Coalesced, of b); WriteStatus(r3, Coalesced, of b)`,
		},
		"receipts of two runs, one run at a time": {
			given: and(waitingBehind(made("b").Pending()), of(answered("r1", "a", "4").Age(1).Obj(), answered("r2", "b", "10").Age(2).Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(a, Leased, count 1 [r1]); Emit(RunCoalesced a<-r1); WriteStatus(r1, Coalesced, of a)",
		},
		"on a run that has ended": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj(), answered("r", "a", "5").Obj()),
			want:  "count-receipts: CheckKey; WriteStatus(a, Completed, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, of a)",
		},
		"counted already: it is marked, no more": {
			given: and(waitingBehind(made("b").Pending().Counted("r")), of(answered("r", "b", "10").Obj())),
			want:  "bind-counted: CheckKey; CheckRun(b); WriteStatus(r, Coalesced, of b)",
		},
		"some counted already: they are not counted again": {
			with:  skipping("bind-counted"),
			given: and(waitingBehind(made("b").Pending().Counted("r1")), of(answered("r1", "b", "10").Obj(), answered("r2", "b", "10").Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(b, Pending, count 2 [r1 r2]); Emit(RunCoalesced b<-r2); WriteStatus(r2, Coalesced, of b)",
		},
		"all at once are marked": {
			given: and(waitingBehind(made("b").Pending().Counted("r1", "r2")), of(answered("r1", "b", "10").Obj(), answered("r2", "b", "10").Obj())),
			want:  "bind-counted: CheckKey; CheckRun(b); WriteStatus(r1, Coalesced, of b); WriteStatus(r2, Coalesced, of b)",
		},
		"a receipt whose run may still come waits": {
			given: of(makeKey("k").Pending("b").Obj(), answered("r", "b", "10").Obj()),
			with:  func(c *scene) { c.coming = true },
		},
		"a receipt of a run that the cache does not show waits": {
			given: and(waitingBehind(made("b").Pending()), of(answered("r", "c", "10").Obj())),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
		},
		"a receipt of a run that is gone goes to the waiting run": {
			given: and(waitingBehind(made("b").Pending()), of(answered("r", "gone", "10").Obj())),
			want:  "count-receipts: CheckKey; WriteStatus(b, Pending, count 1 [r]); Emit(RunCoalesced b<-r); WriteStatus(r, Coalesced, of b)",
		},
	}.run(t)
}

func TestBindIdempotent(t *testing.T) {
	bound := "bind-idempotent: WriteStatus(r, Idempotent, of a)"
	decisions{
		"to the run of the first delivery": {
			given: of(makeIdempotencyKey("i").Owner("a").Obj(), keyless("a").Leased(1, "").Obj(), delivered("r", "a").Obj()),
			want:  bound,
			with:  onlyRun("r"),
		},
		"to a run that has ended": {
			with:  onlyRun("r"),
			given: of(makeIdempotencyKey("i").Owner("a").Obj(), keyless("a").Leased(1, "").Ended(v1alpha1.PhaseCompleted).Obj(), delivered("r", "a").Obj()),
			want:  bound,
		},
		"to a run that was cancelled: no evidence is asked for": {
			with:  onlyRun("r"),
			given: of(keyless("a").Ended(v1alpha1.PhaseCancelled).Obj(), delivered("r", "a").Obj()),
			want:  bound,
		},
		"to the run of another key": {
			given: and(waitingBehind(made("b").Pending()), of(delivered("r", "c").Key("k").Obj(), makeRun("c").Key("other").Created().Ended(v1alpha1.PhaseCompleted).Obj())),
			want:  "bind-idempotent: WriteStatus(r, Idempotent, of c)",
		},
		"to the run that owns the key by now": {
			with:  onlyRun("r"),
			given: of(makeIdempotencyKey("i").Owner("b").Obj(), keyless("b").Ended(v1alpha1.PhaseCompleted).Obj(), delivered("r", "a").Obj()),
			want:  "bind-idempotent: WriteStatus(r, Idempotent, of b)",
		},
		"to no run while the run is not known": {
			given: of(delivered("r", "a").Obj()),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
		},
		"to no run while the owner of the key is not known": {
			given: of(delivered("r", "a").Obj()),
		},
		"the next owner of the key becomes a run": {
			given: of(makeIdempotencyKey("i").Owner("r").Obj(), delivered("r", "a").Obj()),
			want: `claim: CreateJob(r-1); WriteStatus(r, Leased, g1);
				Emit(RunTriggered r); Emit(RunLeased r); Count(leased)`,
		},
		"the next owner of the key waits for its concurrency key": {
			given: of(makeIdempotencyKey("i").Owner("r").Obj(), delivered("r", "a").Key("k").Obj()),
			want:  "fill-pending: CheckKey; CheckRun(r); CheckRun(r); SwapKey(pending=r); Count(promotion)",
		},
		"a delivery again is no trigger to count": {
			given: and(waitingBehind(made("b").Pending()), of(delivered("r", "b").Key("k").Obj())),
			want:  "bind-idempotent: WriteStatus(r, Idempotent, of b)",
		},
	}.run(t)
}

// onlyRun makes the scene observe the home of that run. A run without a key is its own home.
func onlyRun(name string) func(*scene) {
	return func(c *scene) { c.req = runRequest(wrappers.Namespace, name) }
}

func TestCopyOutcome(t *testing.T) {
	busy := waitingBehind(made("b").Pending())
	decisions{
		"with the outcome of a run that completed": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj(), answered("r", "a", "4").BoundTo("a").Obj()),
			want:  "copy-outcome: WriteStatus(r, Coalesced, Complete=Completed)",
		},
		"with the outcome of a run that failed": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Error("too bad").Reported().Obj(), answered("r", "a", "4").BoundTo("a").Obj()),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Failed=Failed, "too bad")`,
		},
		"with the outcome of a run that was cancelled": {
			given: of(made("a").Ended(v1alpha1.PhaseCancelled).Error("cancelled on request").Reported().Obj(), answered("r", "a", "4").BoundTo("a").Obj()),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Cancelled=Cancelled, "cancelled on request")`,
		},
		"many at once": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj(),
				answered("r", "a", "4").BoundTo("a").Obj(), delivered("s", "a").Key("k").BoundTo("a").Obj(), answered("t", "a", "4").BoundTo("a").Settled().Obj()),
			want: "copy-outcome: WriteStatus(r, Coalesced, Complete=Completed); WriteStatus(s, Idempotent, Complete=Completed)",
		},
		"of a run that was deleted": {
			given: and(busy, of(answered("r", "gone", "4").BoundTo("gone").Obj())),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Cancelled=RunDeleted, "run gone was deleted")`,
		},
		"of a run that was deleted and whose name is used again": {
			given: and(waitingBehind(made("b").UID("later").Token("later").Pending()), of(answered("r", "b", "4").BoundTo("b").Obj())),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Key.Spec.Pending.Token = "later" }
			},
			want: `copy-outcome: WriteStatus(r, Coalesced, Cancelled=RunDeleted, "run b was deleted")`,
		},
		"not before it is known when the run ended": {
			given: of(bare(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported()), answered("r", "a", "4").BoundTo("a").Obj()),
		},
		"not before the run's worker's report is complete": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj(), answered("r", "a", "4").BoundTo("a").Cancel().Obj()),
		},
		"not while the run goes on":  {given: and(busy, of(answered("r", "a", "4").BoundTo("a").Obj()))},
		"not while the run waits":    {given: and(busy, of(answered("r", "b", "10").BoundTo("b").Obj()))},
		"not twice":                  {given: and(busy, of(answered("r", "gone", "10").BoundTo("gone").Settled().Obj()))},
		"not while nothing is known": {given: and(busy, of(answered("r", "gone", "4").BoundTo("gone").Obj())), with: func(c *scene) { c.change = func(o *decision.Observation) { clear(o.GoneUIDs) } }},
		"cancelled by itself, alone": {given: and(busy, of(answered("r", "b", "10").Cancel().BoundTo("b").Obj())), want: `copy-outcome: WriteStatus(r, Coalesced, Cancelled=Cancelled, "cancelled on request")`},
		"an outcome goes before cancel": {
			given: of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj(), answered("r", "a", "4").Cancel().BoundTo("a").Obj()),
			want:  "copy-outcome: WriteStatus(r, Coalesced, Complete=Completed)",
		},
	}.run(t)
}

func TestCopyOutcomeIsBounded(t *testing.T) {
	const bound = 64
	given := of(made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj())
	for i := range bound + 1 {
		given = append(given, answered(fmt.Sprintf("r%03d", i), "a", "4").BoundTo("a").Obj())
	}
	c := newScene(t, given...)
	if got := len(decision.Decide(c.snapshot()).Ops); got != bound {
		t.Errorf("%d receipts get an outcome at once, want %d", got, bound)
	}
	c.rest(nil)
	for _, run := range c.runs() {
		if run.Status.CompletionTime == nil {
			t.Errorf("%s has no outcome", run.Name)
		}
	}
}

// bare returns an ended run without completionTime.
func bare(w *wrappers.JobRunWrapper) *v1alpha1.JobRun {
	w.Status.CompletionTime = nil
	return w.Obj()
}
