// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestClaim(t *testing.T) {
	refusedWith := func(r decision.Refusal) func(*scene) {
		return func(c *scene) {
			c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].Refused = &r }
		}
	}
	held := func(c *scene) {
		c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].HoldOff = time.Second }
	}
	decisions{
		"the waiting run starts": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Obj()},
			want: `claim: SwapKey(leased=a g1<10); CreateJob(a-1); 
				WriteStatus(a, Leased, g1<10); Emit(RunTriggered a); Emit(RunLeased a); Count(leased)`,
		},
		"a run that was told to wait starts": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Pending().Obj()},
			want: `claim: SwapKey(leased=a g1<10); CreateJob(a-1); 
				WriteStatus(a, Leased, g1<10); Emit(RunLeased a); Count(leased)`,
		},
		"a run whose lease expired starts again": {
			given: []client.Object{
				makeKey("k").Pending("a").LastGeneration(2).Obj(),
				made("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Obj(),
			},
			want: `claim: SwapKey(leased=a g3<10); CreateJob(a-3); 
				WriteStatus(a, Leased, g3<10); Emit(RunLeased a)`,
		},
		"a run without a key starts": {
			given: []client.Object{makeRun("a").Template().Created().Obj()},
			want: `claim: CreateJob(a-1); WriteStatus(a, Leased, g1);
				Emit(RunTriggered a); Emit(RunLeased a); Count(leased)`,
		},
		"a run without a key whose lease expired starts again": {
			given: []client.Object{
				makeRun("a").Template().Created().Leased(1, "").Fenced().Phase(v1alpha1.PhasePending).Obj(),
			},
			want: `claim: StopStrays; CreateJob(a-3); WriteStatus(a, Leased, g3); Emit(RunLeased a)`,
		},
		"a run without a template waits for a worker": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), makeRun("a").Key("k").Created().Pending().Obj()},
		},
		"a run without key and template is told to wait for a worker": {
			given: []client.Object{makeRun("a").Created().Obj()},
			want:  "announce-pending: WriteStatus(a, Pending); Emit(RunTriggered a)",
		},
		"a run that does not exist yet is waited for": {
			given: []client.Object{makeKey("k").Pending("a").Obj()},
			with:  func(c *scene) { c.coming = true },
		},
		"a refusal for now is said, and the lease kept": {
			given: []client.Object{makeRun("a").Template().Created().Obj()},
			with:  refusedWith(decision.Refusal{Message: "exceeded\nquota"}),
			want:  `claim: WriteStatus(a, Leased, g1, "exceeded quota"); Emit(RunTriggered a); Emit(RunBlocked a)`,
		},
		"a refusal for good fails the run": {
			given: []client.Object{makeRun("a").Template().Created().Obj()},
			with:  refusedWith(decision.Refusal{Final: true, Message: "no such field"}),
			want: `claim: WriteStatus(a, Failed, g1, no holder, finished g1, Failed=InvalidJob, "no such field");
				Emit(RunFailed a); StopRun(a g1)`,
		},
		"a refused Job is not tried again at once": {
			given: []client.Object{makeRun("a").Template().Created().Pending().Obj()},
			with:  held,
		},
	}.run(t)
}

func TestAnnouncePending(t *testing.T) {
	key := makeKey("k").Leased("a", 1, "5").Pending("b")
	announced := "announce-pending: CheckKey; WriteStatus(b, Pending); Emit(RunTriggered b)"
	decisions{
		"behind a run that executes": {
			given: []client.Object{key.Obj(), made("a").Leased(1, "5").Obj(), made("b").Obj(), makeJob(made("a").Obj(), 1).Obj()},
			want:  announced,
		},
		"said already": {
			given: []client.Object{key.Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj(), makeJob(made("a").Obj(), 1).Obj()},
		},
		"not before the status of the run that left says that it executes": {
			given: []client.Object{key.Obj(), made("a").Pending().Obj(), made("b").Obj()},
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].HoldOff = time.Second }
			},
		},
		"not before it says so under the key's generation": {
			given: []client.Object{
				makeKey("k").Leased("a", 3, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Obj(),
				makeJob(made("a").Obj(), 3).Obj(), makeJob(made("a").Obj(), 1).Complete().Obj(),
			},
			with: func(c *scene) {
				c.change = func(o *decision.Observation) {
					o.Executions[wrappers.UIDOf("a")].HoldOff = time.Second
					o.Executions[wrappers.UIDOf("a")].Result = nil
				}
			},
		},
		"not while nothing is known of the run that executes": {
			given: []client.Object{key.Obj(), made("b").Obj()},
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
		},
		"behind a run that is gone, were its Job to take its time": {
			given: []client.Object{key.Obj(), made("b").Obj()},
			with:  func(c *scene) { c.change = func(o *decision.Observation) { o.Blocked["follow-lease"] = true } },
			want:  announced,
		},
		"behind a run that ended, were its Job to take its time": {
			given: []client.Object{key.Obj(), made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj(), made("b").Obj()},
			with:  func(c *scene) { c.change = func(o *decision.Observation) { o.Blocked["follow-lease"] = true } },
			want:  announced,
		},
		"a lease that expired, whose key says that the run waits": {
			given: []client.Object{
				makeKey("k").Pending("a").LastGeneration(2).Obj(), made("a").Leased(1, "5").Fenced().Obj(),
			},
			want: "announce-pending: CheckKey; WriteStatus(a, Pending)",
		},
		"an error that no longer holds goes": {
			given: []client.Object{
				key.Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Obj(),
				made("b").Pending().Phase("").Error("waits in line for its key: another run has the waiting place").Obj(),
			},
			want: `announce-pending: CheckKey; WriteStatus(b, Pending, "")`,
		},
	}.run(t)
}

func TestReleasePending(t *testing.T) {
	decisions{
		"the run never came": {
			given: []client.Object{makeKey("k").Pending("a").Obj()},
			want:  "release-pending: SwapKey(free)",
		},
		"the run never came and another executes": {
			given: []client.Object{makeKey("k").Pending("a").Leased("b", 1, "5").Obj(), made("b").Leased(1, "5").Obj(), makeJob(made("b").Obj(), 1).Obj()},
			want:  "release-pending: SwapKey(leased=b g1<5)",
		},
		"the run may still come": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), answered("r", "a", "10").Obj()},
			with:  func(c *scene) { c.coming = true },
		},
		"the run is gone: the oldest receipt takes its place": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), answered("r2", "a", "10").Age(2).Obj(), answered("r1", "a", "10").Age(1).Obj()},
			want:  "release-pending: CheckRun(r1); SwapKey(pending=r1); Count(promotion)",
		},
		"the run is gone: a run that waits goes before receipts": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), answered("r", "a", "10").Obj(), made("b").Age(5).Obj()},
			want:  "release-pending: CheckRun(b); SwapKey(pending=b)",
		},
		"the run has ended": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Ended(v1alpha1.PhaseFailed).Obj()},
			want:  "release-pending: SwapKey(free)",
		},
		"the run is cancelled": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Pending().Cancel().Obj()},
			want:  `release-pending: SwapKey(free); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"the run is cancelled before it said that it waits": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Cancel().Obj()},
			want:  `release-pending: SwapKey(free); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"the run is cancelled between its leases": {
			given: []client.Object{
				makeKey("k").Pending("a").LastGeneration(2).Obj(),
				made("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Cancel().Obj(),
			},
			want: `release-pending: SwapKey(free);
				WriteStatus(a, Cancelled, finished g2, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"the run is being deleted": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Pending().Deleting().Obj()},
			want:  `release-pending: SwapKey(free); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"the run is cancelled: its receipt takes its place": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Pending().Cancel().Obj(), answered("r", "a", "10").Obj()},
			want: `release-pending: CheckRun(r); SwapKey(pending=r); Count(promotion);
				WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
		"a receipt that was cancelled too takes no place": {
			given: []client.Object{makeKey("k").Pending("a").Obj(), made("a").Pending().Cancel().Obj(), answered("r", "a", "10").Cancel().Obj()},
			want:  `release-pending: SwapKey(free); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`,
		},
	}.run(t)
}

func TestClearStalePending(t *testing.T) {
	decisions{
		"another run waits": {
			given: []client.Object{makeKey("k").Pending("a").Leased("c", 1, "5").Obj(), made("a").Pending().Obj(), made("b").Pending().Obj(), made("c").Leased(1, "5").Obj(), makeJob(made("c").Obj(), 1).Obj()},
			want:  `clear-stale-pending: CheckKey; WriteStatus(b, -, "waits in line for its key: another run has the waiting place")`,
		},
		"a run of the same name waits": {
			given: []client.Object{makeKey("k").PendingAs("b", "later").Obj(), made("b").Pending().Obj()},
			with:  func(c *scene) { c.coming = true },
			want:  `clear-stale-pending: CheckKey; WriteStatus(b, -, "waits in line for its key: another run has the waiting place")`,
		},
		"the claim of the run is not stored yet": {
			given: []client.Object{makeKey("k").Pending("a").Leased("b", 1, "5").Obj(), made("b").Pending().Obj(), made("a").Obj()},
			want: `follow-lease: CheckKey; CheckPods(b); CreateJob(b-1); WriteStatus(b, Leased, g1<5);
				Emit(RunLeased b); Count(leased)`,
		},
	}.run(t)
}

func TestCancelWaiting(t *testing.T) {
	cancelled := `cancel-waiting: StopRun(b g1); CheckKey; WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`
	busy := []client.Object{makeKey("k").Leased("a", 1, "5").Pending("c").Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Obj(), made("c").Pending().Obj()}
	decisions{
		"a run that waits for its key": {
			given: append(busy, made("b").Cancel().Obj()),
			want:  cancelled,
		},
		"a run without a key": {
			given: []client.Object{makeRun("b").Template().Created().Pending().Cancel().Obj()},
			want:  `cancel-waiting: StopRun(b g1); WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`,
		},
		"a run without key and template": {
			given: []client.Object{makeRun("b").Created().Pending().Cancel().Obj()},
			want:  `cancel-waiting: WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`,
		},
		"a run that left the key before its status": {
			given: []client.Object{makeRun("b").Key("k").Created().Pending().Cancel().Obj()},
			want:  `cancel-waiting: CheckKey; WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`,
		},
		"a receipt that no run stands for": {
			given: []client.Object{answered("b", "gone", "10").Cancel().Obj()},
			want:  cancelled,
		},
		"a run that was deleted, with a finalizer": {
			given: append(busy, made("b").Deleting().Obj()),
			want:  cancelled,
		},
		"a receipt that may have a run is bound first": {
			given: append(busy, answered("b", "c", "10").Cancel().Obj()),
			want:  `count-receipts: CheckKey; WriteStatus(c, Pending, count 1 [b]); Emit(RunCoalesced c<-b); WriteStatus(b, Coalesced, of c)`,
		},
	}.run(t)
}

func TestFillPending(t *testing.T) {
	decisions{
		"the key was freed": {
			given: []client.Object{made("b").Obj()},
			want:  "fill-pending: CheckKey; CheckRun(b); CheckRun(b); SwapKey(pending=b)",
		},
		"the key was released by a run that executed": {
			given: []client.Object{makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Obj(), made("b").Obj()},
			want:  "fill-pending: CheckRun(b); SwapKey(pending=b leased=a g1<5)",
		},
		"the oldest first": {
			given: []client.Object{made("b").Age(2).Obj(), made("c").Age(1).Obj()},
			want:  "fill-pending: CheckKey; CheckRun(c); CheckRun(b); CheckRun(c); SwapKey(pending=c line=b)",
		},
		"a run before a receipt": {
			given: []client.Object{made("b").Age(2).Obj(), answered("r", "gone", "10").Obj()},
			want:  "fill-pending: CheckKey; CheckRun(b); CheckRun(b); SwapKey(pending=b)",
		},
		"a receipt whose run is gone is promoted": {
			given: []client.Object{answered("r2", "gone", "10").Age(2).Obj(), answered("r1", "gone", "10").Age(1).Obj()},
			want:  "fill-pending: CheckKey; CheckRun(r1); SwapKey(pending=r1); Count(promotion)",
		},
		"the run remembers its generation": {
			given: []client.Object{made("b").Leased(1, "5").Fenced().Phase("").Obj()},
			want:  "fill-pending: CheckKey; CheckRun(b); CheckRun(b); SwapKey(pending=b g2)",
		},
		"a receipt is not promoted while nothing is known of its run": {
			given: []client.Object{answered("r", "a", "10").Obj()},
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
		},
		"a cancelled run does not get the place, and ends first": {
			given: []client.Object{made("b").Cancel().Obj(), made("c").Age(1).Obj()},
			want:  `cancel-waiting: StopRun(b g1); CheckKey; WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled b)`,
		},
		"a bound receipt is no candidate": {
			given: []client.Object{made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj(), answered("r", "a", "4").BoundTo("a").Obj()},
			want:  "copy-outcome: WriteStatus(r, Coalesced, Complete=Completed)",
		},
	}.run(t)
}

func TestLookAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		left, holdOff time.Duration
		expires       bool
		want          time.Duration
	}{
		"never":                     {},
		"when the lease ends":       {left: 5 * time.Second, expires: true, want: 5 * time.Second},
		"not for a Job's lease":     {left: 5 * time.Second},
		"when a Job may be tried":   {holdOff: time.Second, want: time.Second},
		"whichever is sooner":       {left: 5 * time.Second, expires: true, holdOff: 7 * time.Second, want: 5 * time.Second},
		"whichever is sooner still": {left: 5 * time.Second, expires: true, holdOff: 2 * time.Second, want: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			run := made("a").Leased(1, "5").Obj()
			c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run, makeJob(run, 1).Obj(), podOf(makeJob(run, 1).Obj(), "p", nil))
			o := c.observe()
			e := o.Executions[run.UID]
			e.Expires, e.Left, e.HoldOff = tc.expires, tc.left, tc.holdOff
			if got := decision.Decide(decision.NewSnapshot(o)).After; got != tc.want {
				t.Errorf("look again after %s, want %s", got, tc.want)
			}
		})
	}
}
