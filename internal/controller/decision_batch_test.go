// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// No member of a batch executes or stands for a receipt before the batch has started. Withdrawn members end
// like cancelled ones.
func TestMembersOfABatch(t *testing.T) {
	leader := func() *wrappers.JobRunWrapper { return makeRun("l").Key("other").Template().Created().Batch("l") }
	started, withdrawn := leader().Decided(v1alpha1.BatchStarted).Obj(), leader().Decided(v1alpha1.BatchWithdrawn).Obj()
	member := func() *wrappers.JobRunWrapper { return made("a").Batch("l") }
	receipt := func(run string) *wrappers.JobRunWrapper { return answered("r", run, "10").Batch("l") }
	waiting := makeKey("k").Pending("a").Obj()
	const gone = `Cancelled=BatchWithdrawn, "batch batch-of-l was withdrawn: not all of its 2 members were created"`
	for name, tc := range map[string]struct {
		leader *v1alpha1.JobRun
		given  []client.Object
		want   string
	}{
		"it waits":         {leader().Obj(), of(waiting, member().Obj()), ""},
		"the leader waits": {nil, of(waiting, made("a").Batch("a").Obj()), ""},
		"it waits, and an outsider's receipt with it":  {leader().Obj(), of(waiting, member().Obj(), answered("r", "a", "10").Obj()), ""},
		"it waits, and a receipt of its batch with it": {leader().Obj(), of(waiting, member().Obj(), receipt("a").Obj()), ""},
		"a receipt waits though its run executes":      {leader().Obj(), and(of(makeKey("k").Leased("a", 1, "12").Obj(), receipt("a").Obj()), executing(made("a"), 1, "12")), ""},
		"it starts": {started, of(waiting, member().Obj()),
			"claim: SwapKey(leased=a g1<10); CreateJob(a-1); WriteStatus(a, Leased, g1<10, batch Started); Emit(RunTriggered a); Emit(RunLeased a); Count(leased)"},
		"it is told to wait": {started, and(of(makeKey("k").Leased("b", 1, "5").Pending("a").Obj(), member().Obj()), executing(made("b"), 1, "5")),
			"announce-pending: CheckKey; WriteStatus(a, Pending, batch Started); Emit(RunTriggered a)"},
		"its receipt is bound": {started, and(of(makeKey("k").Leased("a", 1, "12").Obj(), receipt("a").Obj()), executing(made("a"), 1, "12")),
			"count-receipts: CheckKey; WriteStatus(a, Leased, count 1 [r]); Emit(RunCoalesced a<-r); WriteStatus(r, Coalesced, batch Started, of a)"},
		"it is withdrawn": {withdrawn, of(waiting, member().Obj()),
			"release-pending: SwapKey(free); WriteStatus(a, Cancelled, batch Withdrawn, " + gone + "); Emit(RunCancelled a)"},
		"it is withdrawn, and an outsider promoted": {withdrawn, of(waiting, member().Obj(), answered("r", "a", "10").Obj()),
			"release-pending: CheckRun(r); SwapKey(pending=r); Count(promotion); WriteStatus(a, Cancelled, batch Withdrawn, " + gone + "); Emit(RunCancelled a)"},
		"a receipt is withdrawn though its run executes": {withdrawn, and(of(makeKey("k").Leased("a", 1, "12").Obj(), receipt("a").Obj()), executing(made("a"), 1, "12")),
			"cancel-waiting: StopRun(r g1); CheckKey; WriteStatus(r, Cancelled, batch Withdrawn, " + gone + "); Emit(RunCancelled r)"},
		"the leader is cancelled": {nil, of(waiting, made("a").Batch("a").Cancel().Obj()),
			`release-pending: SwapKey(free); WriteStatus(a, Cancelled, batch Withdrawn, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`},
		"the leader is gone": {nil, of(waiting, member().Obj()),
			"release-pending: SwapKey(free); WriteStatus(a, Cancelled, batch Withdrawn, " + gone + "); Emit(RunCancelled a)"},
		"it started, and the leader is gone": {nil, and(of(makeKey("k").Leased("a", 1, "12").Obj()), executing(member().Decided(v1alpha1.BatchStarted), 1, "12")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newScene(t, tc.given...).observe()
			clear(o.BatchDecisions)
			for _, run := range o.Runs {
				if tc.leader == nil && run.AwaitsBatch() && !run.LeadsBatch() {
					o.BatchDecisions[run.UID] = v1alpha1.BatchWithdrawn
				} else if tc.leader != nil && tc.leader.Status.Batch != nil && run.AwaitsBatch() {
					o.BatchDecisions[run.UID] = tc.leader.Status.Batch.Decision
				}
			}
			if got := decision.Decide(decision.NewSnapshot(o)).String(); got != tc.want {
				t.Errorf("plan\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

// decided sets the decision that the leaders of members record.
func decided(recorded v1alpha1.BatchDecision, members ...string) func(*scene) {
	return func(c *scene) {
		c.change = func(o *decision.Observation) {
			for _, member := range members {
				o.BatchDecisions[wrappers.UIDOf(member)] = recorded
			}
		}
	}
}

// I6, I2: a member that ended before its batch started never executes. A second delivery of its trigger does
// not wait for it.
func TestMemberThatEndedUndecidedGivesItsIdempotencyKeyUp(t *testing.T) {
	for phase, a := range map[v1alpha1.Phase]*v1alpha1.JobRun{
		v1alpha1.PhaseCancelled: made("a").IdempotencyKey("i").Batch("l").Cancel().Ended(v1alpha1.PhaseCancelled).Obj(),
		v1alpha1.PhaseFailed:    made("a").IdempotencyKey("i").Batch("l").Ended(v1alpha1.PhaseFailed).Obj(),
	} {
		s := idempotency(t, false, makeIdempotencyKey("i").Owner("a").Obj(), a, delivered("r", "a").Key("other").Age(1).Obj())
		if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(r); SwapKey(owner=r)"; got != want {
			t.Errorf("%s: plan %q, want %q", phase, got, want)
		}
	}
	s := idempotency(t, false, makeIdempotencyKey("i").Owner("a").Obj(),
		made("a").IdempotencyKey("i").Batch("l").Decided(v1alpha1.BatchStarted).Cancel().Ended(v1alpha1.PhaseCancelled).Obj(),
		delivered("r", "a").Key("other").Age(1).Obj())
	if got := decision.DecideIdempotencyKey(s).String(); got != "" {
		t.Errorf("the batch has started: plan %q", got)
	}
}

// I5: an expired run keeps its key until the batch of the waiting member is decided. If it failed and the
// member was withdrawn, both triggers would be lost.
func TestLeaseDoesNotEndForAMemberThatIsUndecided(t *testing.T) {
	member := func() *wrappers.JobRunWrapper { return made("m").Age(1).Batch("l") }
	key := makeKey("k").Leased("a", 1, "5").Pending("m").Obj()
	expired := func(recorded v1alpha1.BatchDecision) func(*scene) {
		return func(c *scene) {
			decided(recorded, "m")(c)
			c.expired = true
		}
	}
	executes := executing(made("a").LeaseSeconds(30), 1, "5")
	fenced := made("a").LeaseSeconds(30).Attempts(1).Leased(1, "5").Fenced().Obj()
	decisions{
		"undecided":               {given: and(of(key, member().Obj()), executes), with: expired("")},
		"undecided, it is fenced": {given: of(key, member().Obj(), fenced), with: expired("")},
		"started": {
			given: and(of(key, member().Obj()), executes), with: expired(v1alpha1.BatchStarted),
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; pending run m already exists");
				Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1); SwapKey(pending=m, or note a-1)`,
		},
		"withdrawn": {
			given: and(of(key, member().Obj()), executes), with: expired(v1alpha1.BatchWithdrawn),
			want: `release-pending: SwapKey(leased=a g1<5); WriteStatus(m, Cancelled, batch Withdrawn, Cancelled=BatchWithdrawn,
				"batch batch-of-l was withdrawn: not all of its 2 members were created"); Emit(RunCancelled m)`,
		},
	}.run(t)
}

// I6: if the owner of an idempotency key is withdrawn, the key gets one next owner. Before that, no other
// delivery may start.
func TestHeirOfAWithdrawnMemberIsTheOnlyOneThatStarts(t *testing.T) {
	m := func() *wrappers.JobRunWrapper { return made("m").Batch("l") }
	coalesced := func() *wrappers.JobRunWrapper { return answered("t", "m", "10").IdempotencyKey("i").Age(2) }
	again := delivered("d", "m").Key("other").Age(1).Obj()
	key, owned := makeKey("k").Pending("m").Obj(), makeIdempotencyKey("i").Owner("m").Obj()
	withdrawn := m().Decided(v1alpha1.BatchWithdrawn).Ended(v1alpha1.PhaseCancelled).Obj()
	s := idempotency(t, false, owned, withdrawn, coalesced().Obj(), again)
	if got, want := decision.DecideIdempotencyKey(s).String(), "own-idempotency: CheckRun(d); SwapKey(owner=d)"; got != want {
		t.Errorf("plan %q, want %q", got, want)
	}
	decisions{
		"it leaves": {
			given: of(key, owned, m().Obj(), coalesced().Obj()), with: decided(v1alpha1.BatchWithdrawn, "m"),
			want: `release-pending: SwapKey(free); WriteStatus(m, Cancelled, batch Withdrawn, Cancelled=BatchWithdrawn,
				"batch batch-of-l was withdrawn: not all of its 2 members were created"); Emit(RunCancelled m)`,
		},
		"it has left": {given: of(owned, withdrawn, coalesced().Obj())},
		"the trigger is the next owner": {
			given: of(makeIdempotencyKey("i").Owner("t").Obj(), withdrawn, coalesced().Obj()),
			want:  "fill-pending: CheckKey; CheckRun(t); CheckRun(t); SwapKey(pending=t); Count(promotion)",
		},
		"another delivery is the next owner": {
			given: of(makeIdempotencyKey("i").Owner("d").Obj(), withdrawn, coalesced().Obj(), delivered("d", "m").Key("k").Leased(1, "5").Obj(),
				makeKey("k").Leased("d", 1, "5").Obj(), makeJob(delivered("d", "m").Key("k").Leased(1, "5").Obj(), 1).Obj()),
			want: "bind-idempotent: WriteStatus(t, Idempotent, of d)",
		},
		"without an idempotencyKey it takes the place at once": {
			given: of(key, m().Obj(), answered("t", "m", "10").Obj()), with: decided(v1alpha1.BatchWithdrawn, "m"),
			want: `release-pending: CheckRun(t); SwapKey(pending=t); Count(promotion); WriteStatus(m, Cancelled, batch Withdrawn, Cancelled=BatchWithdrawn,
				"batch batch-of-l was withdrawn: not all of its 2 members were created"); Emit(RunCancelled m)`,
		},
	}.run(t)
}

// A claim or a count of a member proves that its batch has started, even if the leader was deleted before the
// status of the member recorded that.
func TestMemberThatExecutesIsNotWithdrawn(t *testing.T) {
	member := func() *wrappers.JobRunWrapper { return made("a").Batch("l") }
	for _, leader := range []v1alpha1.BatchDecision{"", v1alpha1.BatchWithdrawn} {
		for name, tc := range map[string]struct {
			given []client.Object
			want  string
		}{
			"its claim is not stored": {of(makeKey("k").Leased("a", 1, "5").Obj(), member().Obj()),
				"key: leased=a g1<5\na: Leased, g1<5, batch Started\njob a-1: runs\n"},
			"its Job is there": {of(makeKey("k").Leased("a", 1, "5").Obj(), member().Obj(), makeJob(member().Obj(), 1).Obj()),
				"key: leased=a g1<5\na: Leased, g1<5, batch Started\njob a-1: runs\n"},
			"its Job is there, it has no key": {of(keyless("a").Batch("l").Obj(), makeJob(keyless("a").Obj(), 1).Obj()),
				"key: free\na: Leased, g1, batch Started\njob a-1: runs\n"},
			"it is counted": {and(waitingBehind(made("b").Pending().Counted("r")), of(answered("r", "b", "10").Batch("l").Obj())),
				"key: pending=b leased=a g1<5\na: Leased, g1<5\nb: Pending, count 1 [r]\nr: Coalesced, batch Started, of b\njob a-1: runs\n"},
		} {
			t.Run(name+", "+string(leader), func(t *testing.T) {
				c := newScene(t, tc.given...)
				decided(leader, "a", "r")(c)
				c.rest(nil)
				expectState(t, c.formatState(), tc.want)
			})
		}
	}
}
