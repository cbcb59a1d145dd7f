// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// stored returns a builder for a JobRun of the key "k" that was stored without the webhook.
func stored(name string) *wrappers.JobRunWrapper { return makeRun(name).Key("k").Template() }

func TestAnswerBypassed(t *testing.T) {
	full, unbound := made("b").Pending(), []client.Object{}
	for i := range v1alpha1.MaxRecent {
		name := string(rune('A' + i))
		full.Counted(name)
		unbound = append(unbound, answered(name, "b", "10").Obj())
	}
	decisions{
		"they get a free key": {
			given: of(stored("x").Obj()),
			want:  "fill-pending: CheckKey; CheckRun(x); CheckRun(x); SwapKey(pending=x)",
		},
		"behind a run that executes they wait": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj(), stored("x").Obj()), executing(made("a"), 1, "5")),
			want:  "fill-pending: CheckRun(x); SwapKey(pending=x leased=a g1<5)",
		},
		"the oldest of two has the key, the other is refused": {
			given: of(makeKey("k").PendingAs("x", "uid-x").Leased("a", 1, "5").Obj(), stored("x").Pending().Obj(), stored("y").Age(1).Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want: `answer-bypassed: CheckKey; CheckRun(x); WriteStatus(y, Failed, Failed=Conflict, "run x is pending for job \"job\", concurrencyKey \"k\"");
				Emit(RunFailed y)`,
		},
		"while a run waits they are refused": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").Obj())),
			want: `answer-bypassed: CheckKey; CheckRun(b); WriteStatus(x, Failed, Failed=Conflict, "run b is pending for job \"job\", concurrencyKey \"k\"");
				Emit(RunFailed x)`,
		},
		"while a run waits they are absorbed": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").Skip().Obj())),
			want:  "answer-bypassed: CheckKey; WriteStatus(b, Pending, count 1 [x]); Emit(RunCoalesced b<-x); WriteStatus(x, Coalesced, of b)",
		},
		"counted already, they are marked": {
			given: and(waitingBehind(made("b").Pending().Counted("x")), of(stored("x").Skip().Obj())),
			want:  "answer-bypassed: CheckKey; CheckRun(b); WriteStatus(x, Coalesced, of b)",
		},
		"the record of the run is full of unmarked ones": {
			given: and(waitingBehind(full), of(stored("x").Skip().Obj()), unbound),
			with:  skipping("bind-counted"),
		},
		"the key is reserved for a run that may come": {
			given: of(makeKey("k").Pending("b").Obj(), stored("x").Obj()),
			with:  func(c *scene) { c.coming = true },
		},
		"they have the key themselves": {
			given: of(makeKey("k").PendingAs("x", "uid-x").Leased("a", 1, "5").Obj(), stored("x").Pending().Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Obj()),
		},
		"cancelled": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").Cancel().Obj())),
			want: `cancel-waiting: StopRun(x g1); CheckKey; WriteStatus(x, Cancelled, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled x)`,
		},
		"delivered before": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").IdempotencyKey("i").Obj(), makeIdempotencyKey("i").Owner("a").Obj())),
			want:  "answer-bypassed: WriteStatus(x, Idempotent, of a)",
		},
		"delivered before, goes before concurrency": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").Skip().IdempotencyKey("i").Obj(), makeIdempotencyKey("i").Owner("b").Obj())),
			want:  "answer-bypassed: WriteStatus(x, Idempotent, of b)",
		},
		"with an idempotencyKey whose owner is not known": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").IdempotencyKey("i").Obj())),
		},
		"with an idempotencyKey of a run that may come": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").IdempotencyKey("i").Obj(), makeIdempotencyKey("i").Owner("c").Obj())),
		},
		"owning their idempotencyKey, they are like other triggers": {
			given: and(waitingBehind(made("b").Pending()), of(stored("x").Skip().IdempotencyKey("i").Obj(), makeIdempotencyKey("i").OwnerAs("x", "uid-x").Obj())),
			want:  "answer-bypassed: CheckKey; WriteStatus(b, Pending, count 1 [x]); Emit(RunCoalesced b<-x); WriteStatus(x, Coalesced, of b)",
		},
		"without a key they start": {
			given: of(makeRun("x").Template().Obj()),
			want: `claim: CreateJob(x-1); WriteStatus(x, Leased, g1);
				Emit(RunTriggered x); Emit(RunLeased x); Count(leased)`,
		},
	}.run(t)
}

// idempotency returns what a controller observes of the idempotency key "i".
func idempotency(t *testing.T, coming bool, key *v1alpha1.RunKey, runs ...*v1alpha1.JobRun) *decision.Snapshot {
	t.Helper()
	var objects []client.Object
	for _, run := range runs {
		objects = append(objects, run)
	}
	if key != nil {
		objects = append(objects, key)
	}
	c := newScene(t, objects...)
	if key != nil && !coming {
		c.sightings.noteDeleted(key.Spec.Owner.Token)
	}
	return c.lookAtIdempotencyKey()
}

// lookAtIdempotencyKey returns the snapshot of the idempotency key i.
func (c *scene) lookAtIdempotencyKey() *decision.Snapshot {
	c.t.Helper()
	name := v1alpha1.IdempotencyKeyName(wrappers.JobName, "i")
	o, err := c.observeIdempotencyKey(c.t.Context(), Request{Namespace: wrappers.Namespace, RunKey: name})
	if err != nil {
		c.t.Fatal(err)
	}
	return decision.NewSnapshot(o)
}

func TestDecideIdempotencyKey(t *testing.T) {
	receipt := func(name, run string) *wrappers.JobRunWrapper {
		return answered(name, run, "10").IdempotencyKey("i")
	}
	owned := makeIdempotencyKey("i").Owner("a").Obj()
	for name, tc := range map[string]struct {
		key    *v1alpha1.RunKey
		runs   []*v1alpha1.JobRun
		coming bool
		want   string
	}{
		"the owner waits":           {key: owned, runs: []*v1alpha1.JobRun{made("a").IdempotencyKey("i").Pending().Obj()}},
		"the owner ended and stays": {key: owned, runs: []*v1alpha1.JobRun{made("a").IdempotencyKey("i").Ended(v1alpha1.PhaseFailed).Obj()}},
		"the owner may still come":  {key: owned, coming: true},
		"the owner is gone": {
			key:  owned,
			want: "free-idempotency: SwapKey(free)",
		},
		"another run has the owner's name": {
			key:  owned,
			runs: []*v1alpha1.JobRun{made("a").IdempotencyKey("i").Token("later").Obj()},
			want: "own-idempotency: CheckRun(a); SwapKey(owner=a)",
		},
		"the owner is gone: the oldest run of the key": {
			key: owned,
			runs: []*v1alpha1.JobRun{
				made("c").Age(2).IdempotencyKey("i").Obj(), made("b").Age(1).IdempotencyKey("i").Ended(v1alpha1.PhaseFailed).Obj(),
			},
			want: "own-idempotency: CheckRun(b); SwapKey(owner=b)",
		},
		"the owner is gone: the run that stands for a trigger": {
			key:  owned,
			runs: []*v1alpha1.JobRun{receipt("r", "a").BoundTo("x").Obj(), made("x").Pending().Obj()},
			want: "own-idempotency: CheckRun(x); SwapKey(owner=x)",
		},
		"the owner is gone: a run before receipts": {
			key:  owned,
			runs: []*v1alpha1.JobRun{receipt("r", "a").Obj(), made("b").Age(5).IdempotencyKey("i").Obj()},
			want: "own-idempotency: CheckRun(b); SwapKey(owner=b)",
		},
		"the owner is gone: the oldest receipt": {
			key: owned,
			runs: []*v1alpha1.JobRun{
				delivered("r2", "a").Age(2).Obj(), delivered("r1", "a").Age(1).Obj(),
			},
			want: "own-idempotency: CheckRun(r1); SwapKey(owner=r1)",
		},
		"the owner is gone: no receipt that was cancelled": {
			key:  owned,
			runs: []*v1alpha1.JobRun{delivered("r1", "a").Cancel().Obj(), delivered("r2", "a").Age(2).Obj()},
			want: "own-idempotency: CheckRun(r2); SwapKey(owner=r2)",
		},
		"the key was deleted": {
			runs: []*v1alpha1.JobRun{made("b").Age(1).IdempotencyKey("i").Pending().Obj(), delivered("r", "b").BoundTo("b").Obj()},
			want: "own-idempotency: CheckRun(b); SwapKey(owner=b)",
		},
		"the key was deleted and a receipt waits for its run": {
			runs: []*v1alpha1.JobRun{delivered("r", "b").Obj()},
			want: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"without the webhook the oldest has it": {
			runs: []*v1alpha1.JobRun{stored("y").Age(1).IdempotencyKey("i").Obj(), stored("x").IdempotencyKey("i").Obj()},
			want: "own-idempotency: CheckRun(x); SwapKey(owner=x)",
		},
		"nothing is left": {},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decision.DecideIdempotencyKey(idempotency(t, tc.coming, tc.key, tc.runs...)).String(); got != tc.want {
				t.Errorf("plan\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

// A created row has all fields of the key.
func TestOwnedKey(t *testing.T) {
	plan := decision.DecideIdempotencyKey(idempotency(t, false, nil, delivered("r", "b").Obj()))
	next := plan.Ops[1].(decision.SwapKey).Next
	if !runkey.Matches(next, v1alpha1.RunKeyIdempotency, wrappers.JobName, "i") {
		t.Errorf("the new row is %+v", next)
	}
}
