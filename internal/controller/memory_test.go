// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// P10: what becomes of an idempotency key when its owner has ended. All runs ended a minute ago.
func TestP10EndOfTheOwner(t *testing.T) {
	owned := func() *wrappers.RunKeyWrapper { return makeIdempotencyKey("i").Owner("a") }
	ended := func(name string, phase v1alpha1.Phase) *wrappers.JobRunWrapper {
		return made(name).IdempotencyKey("i").Ended(phase).Reported()
	}
	completed, failed, cancelled := v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled
	for name, tc := range map[string]struct {
		key   *wrappers.RunKeyWrapper
		runs  []client.Object
		want  string
		after time.Duration
	}{
		"it waits":                           {key: owned().Remembered(60).ReleasedOnFailure(), runs: of(made("a").IdempotencyKey("i").Pending().Obj())},
		"it ended without conditions":        {key: owned().Remembered(60), runs: of(made("a").IdempotencyKey("i").Ended(completed).Obj())},
		"it failed, with no terms":           {key: owned(), runs: of(ended("a", failed).Obj())},
		"it completed and releases":          {key: owned().ReleasedOnFailure(), runs: of(ended("a", completed).Obj())},
		"it failed and releases":             {key: owned().ReleasedOnFailure(), runs: of(ended("a", failed).Obj()), want: "free-idempotency: SwapKey(free)"},
		"it was cancelled and releases":      {key: owned().ReleasedOnFailure(), runs: of(ended("a", cancelled).Obj()), want: "free-idempotency: SwapKey(free)"},
		"it failed and releases, with a TTL": {key: owned().ReleasedOnFailure().Remembered(60), runs: of(ended("a", failed).Obj()), want: "free-idempotency: SwapKey(free)"},
		"it completed, with a TTL": {
			key: owned().ReleasedOnFailure().Remembered(60), runs: of(ended("a", completed).Obj()),
			want: "remember-outcome: SwapKey(owner=a outcome=Completed)",
		},
		"it failed, with a TTL": {
			key: owned().Remembered(60), runs: of(ended("a", failed).Obj()),
			want: "remember-outcome: SwapKey(owner=a outcome=Failed)",
		},
		"it absorbed the delivery, failed and releases: the receipt does not bring it back": {
			key:  owned().ReleasedOnFailure(),
			runs: of(made("a").Ended(failed).Reported().Obj(), answered("r", "a", "10").IdempotencyKey("i").BoundTo("a").Settled().Obj()),
			want: "free-idempotency: SwapKey(free)",
		},
		"it failed and releases, and a delivery of another run waits": {
			key: owned().ReleasedOnFailure(), runs: of(ended("a", failed).Obj(), made("b").IdempotencyKey("i").Remembered(9).Pending().Obj()),
			want: "own-idempotency: CheckRun(b); SwapKey(owner=b)",
		},
		"it failed and releases, and another run lost the key before": {
			key: owned().ReleasedOnFailure(), runs: of(ended("b", failed).Age(3600).Obj(), ended("a", failed).Obj()),
			want: "free-idempotency: SwapKey(free)",
		},
		"it failed and releases, and another run that lost the key before has a receipt": {
			key: owned().ReleasedOnFailure(),
			runs: of(ended("b", failed).Age(3600).Obj(), ended("a", failed).Obj(),
				answered("r", "b", "10").IdempotencyKey("i").BoundTo("b").Settled().Obj()),
			want: "free-idempotency: SwapKey(free)",
		},
		"it was cancelled, and the trigger that brought the key waits for its fate": {
			key:  owned().Remembered(60),
			runs: of(ended("a", cancelled).Obj(), answered("r", "a", "10").IdempotencyKey("i").Obj()),
		},
		"it was cancelled, and the trigger that brought the key was promoted": {
			key:  owned().Remembered(60),
			runs: of(ended("a", cancelled).Obj(), answered("r", "a", "10").IdempotencyKey("i").Pending().Obj()),
			want: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"the key remembers it, and the trigger that brought the key was promoted": {
			key:  owned().Remembered(60).Outcome(cancelled, metav1.NewTime(now.Add(time.Minute))),
			runs: of(ended("a", cancelled).Obj(), answered("r", "a", "10").IdempotencyKey("i").Pending().Obj()),
			want: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"it was cancelled, and the trigger that brought the key, too": {
			key:  owned().Remembered(60),
			runs: of(ended("a", cancelled).Obj(), answered("r", "a", "10").IdempotencyKey("i").Ended(cancelled).Obj()),
			want: "remember-outcome: SwapKey(owner=a outcome=Cancelled)",
		},
		"it was cancelled and is gone, and the trigger that brought the key is left": {
			key: owned().Remembered(60), runs: of(answered("r", "a", "10").IdempotencyKey("i").Obj()),
			want: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"it is remembered for long":  {key: owned().Remembered(600).Outcome(failed, wrappers.At(600)), runs: of(ended("a", failed).Obj())},
		"it is forgotten soon":       {key: owned().Remembered(60).Outcome(failed, wrappers.At(90)), after: 30 * time.Second},
		"it is forgotten":            {key: owned().Remembered(60).Outcome(failed, wrappers.At(60)), want: "free-idempotency: SwapKey(free)"},
		"it is forgotten, and stays": {key: owned().Remembered(60).Outcome(failed, wrappers.At(60)), runs: of(ended("a", failed).Obj()), want: "free-idempotency: SwapKey(free)"},
		"it is forgotten, and a receipt of it was never bound": {
			key: owned().Remembered(60).Outcome(failed, wrappers.At(60)), runs: of(delivered("r", "a").Obj()),
			want: "own-idempotency: CheckRun(r); SwapKey(owner=r)",
		},
		"it is gone, and a run that would be forgotten by now does not get its key": {
			key: owned().Remembered(60), runs: of(ended("b", failed).Remembered(60).Obj()), want: "free-idempotency: SwapKey(free)",
		},
		"it is gone, and a run that has released the key does not get it": {
			key: owned(), runs: of(ended("b", failed).ReleasedOnFailure().Obj()), want: "free-idempotency: SwapKey(free)",
		},
		"it is gone, and a second delivery does not bring the key to a run that has ended": {
			key: owned(), runs: of(made("b").Ended(failed).Reported().Obj(), delivered("r", "b").BoundTo("b").Settled().Obj()),
			want: "free-idempotency: SwapKey(free)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, append(tc.runs, tc.key.Obj())...)
			c.SweepPeriod = time.Minute
			c.sightings.noteDeleted(wrappers.TokenOf("a"))
			plan := decision.DecideIdempotencyKey(c.lookAtIdempotencyKey())
			if got := plan.String(); got != tc.want || plan.After != tc.after {
				t.Errorf("plan %q after %s, want %q after %s", got, plan.After, tc.want, tc.after)
			}
		})
	}
}

// P10: a released key, whose row is gone, does not go back to a run that has ended.
func TestP10ReleasedKeyStaysFree(t *testing.T) {
	failed := made("a").IdempotencyKey("i").Ended(v1alpha1.PhaseFailed).Reported().Obj()
	c := newScene(t, failed, delivered("r", "a").BoundTo("a").Settled().Obj())
	if got := decision.DecideIdempotencyKey(c.lookAtIdempotencyKey()).String(); got != "" {
		t.Errorf("plan %q", got)
	}
}

// P10: the terms of the delivery that brings the key pass on with it, once all replicas know them.
func TestP10TermsPassOn(t *testing.T) {
	for memory, want := range map[bool]runkey.Terms{
		true: {TTLSeconds: 60, Release: v1alpha1.IdempotencyReleaseOnFailure}, false: {},
	} {
		c := newScene(t, made("x").Pending().Obj(),
			answered("r", "x", "10").IdempotencyKey("i").Remembered(60).ReleasedOnFailure().BoundTo("x").Obj())
		c.Memory = func() bool { return memory }
		plan := decision.DecideIdempotencyKey(c.lookAtIdempotencyKey())
		next := plan.Ops[1].(decision.SwapKey).Next
		if got := runkey.TermsIn(next); got != want || runkey.Owner(next).RunName != "x" {
			t.Errorf("memory %t: terms %v of %v", memory, got, runkey.Owner(next))
		}
	}
}

// P10: a run is deleted before its key remembers how it ended. A process that saw the deletion knows the end.
func TestP10EndOfADeletedOwner(t *testing.T) {
	ended := func() *wrappers.JobRunWrapper {
		return made("a").IdempotencyKey("i").Error("out of memory").Ended(v1alpha1.PhaseFailed).Reported()
	}
	owned := func() *wrappers.RunKeyWrapper { return makeIdempotencyKey("i").Owner("a").Remembered(60) }
	for name, tc := range map[string]struct {
		key   *wrappers.RunKeyWrapper
		saw   *v1alpha1.JobRun
		want  string
		error string
	}{
		"it was seen to end": {
			key: owned(), saw: ended().Obj(), want: "remember-outcome: SwapKey(owner=a outcome=Failed)", error: "out of memory",
		},
		"the cache knew only that it ended": {
			key: owned(), saw: slim(t, ended()), want: "remember-outcome: SwapKey(owner=a outcome=Failed)",
			error: "run a was deleted before its key remembered its output and its error",
		},
		"it was seen to end, and releases": {key: owned().ReleasedOnFailure(), saw: ended().Obj(), want: "free-idempotency: SwapKey(free)"},
		"it was not seen to end": {
			key: owned(), saw: made("a").IdempotencyKey("i").Leased(1, "5").Obj(), want: "free-idempotency: SwapKey(free)",
		},
		"its batch was withdrawn": {
			key: owned(), saw: ended().Batch("a").Decided(v1alpha1.BatchWithdrawn).Obj(), want: "free-idempotency: SwapKey(free)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.key.Obj())
			c.RequestsForChange(t.Context(), tc.saw, nil)
			plan := decision.DecideIdempotencyKey(c.lookAtIdempotencyKey())
			if got := plan.String(); got != tc.want {
				t.Fatalf("plan %q, want %q", got, tc.want)
			}
			if end := runkey.Remembered(plan.Ops[0].(decision.SwapKey).Next); end != nil && end.Error != tc.error {
				t.Errorf("error %q", end.Error)
			}
		})
	}
}

// P10: a receipt gets what its key remembers of a run that is gone.
func TestP10Recall(t *testing.T) {
	remembers := func() *wrappers.RunKeyWrapper {
		key := makeIdempotencyKey("i").Owner("a").Remembered(600).Outcome(v1alpha1.PhaseFailed, wrappers.At(600))
		key.Spec.Outcome.Error = "out of memory"
		return key
	}
	unbound := delivered("r", "a").Key("k").Obj()
	decisions{
		"it is not bound": {
			given: of(unbound, remembers().Obj()),
			want:  `bind-idempotent: WriteStatus(r, Idempotent, of a, Failed=Failed, "out of memory")`,
		},
		"it is bound": {
			given: of(delivered("r", "a").Key("k").BoundTo("a").Obj(), remembers().Obj()),
			want:  `copy-outcome: WriteStatus(r, Idempotent, Failed=Failed, "out of memory")`,
		},
		"it was absorbed, and is not counted": {
			given: of(answered("r", "a", "10").IdempotencyKey("i").Obj(), remembers().Obj()),
			want:  `bind-idempotent: WriteStatus(r, Idempotent, of a, Failed=Failed, "out of memory")`,
		},
		"it was absorbed, and is bound": {
			given: of(answered("r", "a", "10").IdempotencyKey("i").BoundTo("a").Obj(), remembers().Obj()),
			want:  `copy-outcome: WriteStatus(r, Coalesced, Failed=Failed, "out of memory")`,
		},
		"it was stored without the webhook": {
			given: of(stored("r").Key("k").IdempotencyKey("i").Obj(), remembers().Obj()),
			want:  `answer-bypassed: WriteStatus(r, Idempotent, of a, Failed=Failed, "out of memory")`,
		},
		"it is cancelled": {
			given: of(delivered("r", "a").Key("k").Cancel().Obj(), remembers().Obj()),
			want: `cancel-waiting: StopRun(r g1); CheckKey; WriteStatus(r, Cancelled, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled r)`,
		},
		"its run still exists": {
			given: of(unbound, remembers().Obj(), made("a").IdempotencyKey("i").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Reported().Obj()),
			want:  "bind-idempotent: WriteStatus(r, Idempotent, of a, Failed=Failed)",
		},
		"it is bound, and the key is about to remember": {
			given: of(delivered("r", "a").Key("k").BoundTo("a").Obj(), makeIdempotencyKey("i").Owner("a").Remembered(60).Obj()),
		},
		"it is bound to another run than the key remembers": {
			given: of(delivered("r", "b").Key("k").BoundTo("b").Obj(), remembers().Obj()),
			want:  `copy-outcome: WriteStatus(r, Idempotent, Cancelled=RunDeleted, "run b was deleted")`,
		},
		"it is bound, and the key lasts as long as its owner": {
			given: of(delivered("r", "a").Key("k").BoundTo("a").Obj(), makeIdempotencyKey("i").Owner("a").Obj()),
			want:  `copy-outcome: WriteStatus(r, Idempotent, Cancelled=RunDeleted, "run a was deleted")`,
		},
	}.run(t)
}

// P10: a run stays until the keys that it owns remember how it ended.
func TestP10RunIsKeptForItsKeys(t *testing.T) {
	run := made("a").IdempotencyKey("i").Remembered(60).TTL(0).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj()
	key := func() *wrappers.RunKeyWrapper { return makeIdempotencyKey("i").Owner("a").Remembered(60) }
	for name, tc := range map[string]struct {
		keys []client.Object
		// late is a key that the cache does not show yet.
		late client.Object
		kept bool
	}{
		"its key does not remember it":          {keys: of(key().Obj()), kept: true},
		"its key remembers it":                  {keys: of(key().Outcome(v1alpha1.PhaseCompleted, wrappers.At(600)).Obj())},
		"its key is gone":                       {},
		"another run owns its key":              {keys: of(makeIdempotencyKey("i").Owner("b").Remembered(60).Obj())},
		"its key lasts as long as it":           {keys: of(makeIdempotencyKey("i").Owner("a").Obj())},
		"the key of a trigger that it absorbed": {keys: of(key().Outcome(v1alpha1.PhaseCompleted, wrappers.At(600)).Obj(), makeIdempotencyKey("j").Owner("a").Remembered(9).Obj()), kept: true},
		"the cache does not show its key yet":   {late: key().Obj(), kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, append(of(run), tc.keys...)...)
			if tc.late != nil {
				live := newScene(t, tc.late).store
				c.Keys = keystore.New(keystore.Options{Cached: c.store, Live: live, Writer: live, Clock: c.clock})
			}
			kept, err := c.awaitsMemory(t.Context(), run)
			if err != nil || kept != tc.kept {
				t.Errorf("kept %t, %v", kept, err)
			}
		})
	}
}

// P9: a run stays until every delivery that has a key of the run is bound, also one that was answered with another run.
func TestP9RunIsKeptForADelivery(t *testing.T) {
	run := made("a").TTL(0).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj()
	owned := makeIdempotencyKey("i").Owner("a").Obj()
	delivery := func() *wrappers.JobRunWrapper { return delivered("r", "b").IdempotencyKey("i") }
	for name, tc := range map[string]struct {
		given []client.Object
		kept  bool
	}{
		"none":                           {given: of(owned)},
		"answered with another run":      {given: of(owned, delivery().Obj()), kept: true},
		"stored without the webhook":     {given: of(owned, stored("r").IdempotencyKey("i").Obj()), kept: true},
		"bound to another run":           {given: of(owned, delivery().BoundTo("b").Obj())},
		"a run":                          {given: of(owned, made("r").IdempotencyKey("i").Obj())},
		"with the key of another run":    {given: of(owned, delivered("r", "b").IdempotencyKey("j").Obj(), makeIdempotencyKey("j").Owner("b").Obj())},
		"while another run owns its key": {given: of(makeIdempotencyKey("i").Owner("b").Obj(), delivery().Obj())},
		"with another key of the run":    {given: of(owned, makeIdempotencyKey("j").Owner("a").Obj(), delivered("r", "b").IdempotencyKey("j").Obj()), kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, append(of(run), tc.given...)...)
			kept, err := c.isAwaited(t.Context(), run)
			if err != nil || kept != tc.kept {
				t.Errorf("kept %t, %v", kept, err)
			}
		})
	}
}

// The owner of an idempotency key is enqueued when a delivery is bound elsewhere or goes, because its retention may wait for it.
func TestRequestsForTheOwnerOfADelivery(t *testing.T) {
	c := newScene(t, makeIdempotencyKey("i").Owner("a").Obj())
	unbound, bound := delivered("r", "b").IdempotencyKey("i").Obj(), delivered("r", "b").IdempotencyKey("i").BoundTo("b").ResourceVersion("11").Obj()
	for name, got := range map[string][]Request{
		"it is bound":   c.RequestsForChange(t.Context(), unbound, bound),
		"it is deleted": c.RequestsForChange(t.Context(), unbound, nil),
	} {
		if !slices.Contains(got, runRequest(wrappers.Namespace, "a")) {
			t.Errorf("%s: the owner is not enqueued: %v", name, got)
		}
	}
}

// The work queue gets only the keys that are forgotten before the next sweep.
func TestSweepKeys(t *testing.T) {
	keys := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	add := func(name string, forget *metav1.Time) {
		key := makeIdempotencyKey(name).Owner("a").Remembered(60)
		if forget != nil {
			key.Outcome(v1alpha1.PhaseFailed, *forget)
		}
		if err := keys.Add(key.Obj()); err != nil {
			t.Fatal(err)
		}
	}
	at := func(seconds int) *metav1.Time { time := wrappers.At(seconds); return &time }
	add("over", at(0))
	add("soon", at(90))
	add("next", at(120))
	add("later", at(121))
	add("owned", nil)
	if err := keys.Add(makeKey("k").Pending("a").Obj()); err != nil {
		t.Fatal(err)
	}
	b := newBench()
	name := func(key string) string { return v1alpha1.IdempotencyKeyName(wrappers.JobName, key) }
	queue := &delays{after: map[string]time.Duration{}}
	b.sweepKeys(keys, queue)
	want := map[string]time.Duration{name("over"): 0, name("soon"): 30 * time.Second, name("next"): time.Minute}
	if diff := cmp.Diff(want, queue.after); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
	b.Shares = partOf() // Another replica owns the keys.
	queue = &delays{after: map[string]time.Duration{}}
	if b.sweepKeys(keys, queue); len(queue.after) > 0 {
		t.Errorf("enqueued without owning the key: %v", queue.after)
	}
}

// A controller that starts enqueues no key that a later sweep finds in time.
func TestRequestsForRememberedKeys(t *testing.T) {
	c := newScene(t)
	c.SweepPeriod = time.Minute
	key := func(forget int) *v1alpha1.RunKey {
		return makeIdempotencyKey("i").Owner("a").Remembered(600).Outcome(v1alpha1.PhaseFailed, wrappers.At(forget)).Obj()
	}
	if got := c.RequestsForExisting(t.Context(), key(600)); len(got) > 0 {
		t.Errorf("a key that lasts: %v", got)
	}
	if got := c.RequestsForExisting(t.Context(), key(100)); len(got) == 0 {
		t.Error("a key that is forgotten soon is not enqueued")
	}
	// The retention of a run may wait for its key.
	before, after := makeIdempotencyKey("i").Owner("a").Remembered(600).Obj(), makeIdempotencyKey("i").Owner("b").ResourceVersion("11").Obj()
	if got := c.RequestsForChange(t.Context(), before, after); !slices.Contains(got, runRequest(wrappers.Namespace, "a")) {
		t.Errorf("the owner that lost its key is not enqueued: %v", got)
	}
	if got := c.RequestsForChange(t.Context(), nil, key(600)); !slices.Contains(got, runRequest(wrappers.Namespace, "a")) {
		t.Errorf("the owner whose key remembers it is not enqueued: %v", got)
	}
}
