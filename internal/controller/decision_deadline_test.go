// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// The lease of a run with a Job lasts for activeDeadlineSeconds, whatever its Job does. The status comes first, then the
// end of what executes, then the key (P3, I8).
func TestDeadline(t *testing.T) {
	overdue := func(c *scene) { c.expired = true }
	bounded := func() *wrappers.JobRunWrapper { return made("a").Deadline(60) }
	blocked := func() *wrappers.JobRunWrapper { return unnamed(bounded().Leased(1, "5").Error("no quota")) }
	leased := makeKey("k").Leased("a", 1, "5").Obj()
	const ended = `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
		"the lease lasted longer than activeDeadlineSeconds, 60 seconds"); Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`
	decisions{
		"in time":           {given: and(of(leased), executing(bounded(), 1, "5"))},
		"its Job executes":  {given: and(of(leased), executing(bounded(), 1, "5")), with: overdue, want: ended},
		"its Job vanished":  {given: of(leased, bounded().Leased(1, "5").Obj()), with: overdue, want: ended},
		"its Job is silent": {given: and(of(leased), executing(bounded().LeaseSeconds(5), 1, "5")), with: overdue, want: ended},
		"its Job is being deleted, and its Pods go on": {
			given: of(leased, bounded().Leased(1, "5").Obj(), makeJob(bounded().Obj(), 1).Deleting().Obj()), with: overdue, want: ended,
		},
		"its Job vanished, and its Pods go on": {
			given: of(leased, bounded().Leased(1, "5").Obj()),
			with: func(c *scene) {
				c.expired = true
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].JobLost = false }
			},
			want: ended,
		},
		"its Job is refused, and may be tried again": {
			given: of(leased, blocked().Obj()), with: overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds; the Job was refused: no quota"); Emit(RunFailed a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its Pod did not start": {
			given: and(of(leased), executing(bounded().Error("no such image"), 1, "5")), with: overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds; it did not get on: no such image"); Emit(RunFailed a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its claim is not stored": {
			given: of(leased, bounded().Pending().Obj()), with: overdue,
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, g1<5, no holder, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds"); Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its claim is not stored, and its Job completed": {
			given: of(leased, bounded().Pending().Obj(), makeJob(bounded().Obj(), 1).Complete().Obj()), with: overdue,
			want: `follow-lease: CheckKey; CreateJob(a-1); WriteStatus(a, Leased, g1<5); Emit(RunLeased a);
				Count(leased)`,
		},
		"another run waits": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj()), executing(bounded(), 1, "5")),
			with:  overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds"); Emit(RunFailed a); StopRun(a g1); SwapKey(pending=b, or note a-1)`,
		},
		"it was cancelled, and its Pods go on": {
			given: and(of(leased), executing(bounded().Cancel(), 1, "5")), with: overdue, want: ended,
		},
		"it is cancelled in time": {
			given: and(of(leased), executing(bounded().Cancel(), 1, "5")),
			want: `follow-lease: StopRun(a g1); WriteStatus(a, Cancelled, finished g1, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its Job completed": {
			given: of(leased, bounded().Leased(1, "5").Obj(), makeJob(bounded().Obj(), 1).Complete().Obj()), with: overdue,
			want: `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its Job failed": {
			given: of(leased, bounded().Leased(1, "5").Obj(), makeJob(bounded().Obj(), 1).Failed("BackoffLimitExceeded", "too often").Obj()),
			with:  overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=BackoffLimitExceeded, "BackoffLimitExceeded: too often");
				Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"its Job missed its own deadline, which gives the same reason": {
			given: of(leased, bounded().Leased(1, "5").Obj(), makeJob(bounded().Obj(), 1).Failed("DeadlineExceeded", "too long").Obj()),
			with:  overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded, "DeadlineExceeded: too long");
				Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"it has no key": {
			given: executing(keyless("a").Deadline(60), 2, ""), with: overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g2, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds"); Emit(RunFailed a); StopRun(a g2)`,
		},
		"it has no key, and its Job is refused": {
			given: of(unnamed(keyless("a").Deadline(60).Leased(1, "").Error("no quota")).Obj()), with: overdue,
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds; the Job was refused: no quota"); Emit(RunFailed a); StopRun(a g1)`,
		},
		"it has ended, and its Pods go on": {
			given: of(leased, bounded().Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj()), with: overdue,
			want: "follow-lease: StopRun(a g1); SwapKey(free, or note a-1)",
		},
	}.run(t)
}

// The controller looks again at the deadline, and not only when it tries a refused Job again.
func TestDeadlineWakes(t *testing.T) {
	blocked := unnamed(made("a").Deadline(10).Leased(1, "5").Error("no quota")).Obj()
	for name, tc := range map[string]struct {
		holdOff time.Duration
		want    time.Duration
	}{
		"before the next try": {time.Minute, 10 * time.Second},
		"after the next try":  {time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), blocked)
			c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].HoldOff = tc.holdOff }
			if plan := decision.Decide(c.snapshot()); len(plan.Ops) > 0 || plan.After != tc.want {
				t.Errorf("plan %q, again after %s, want %s", plan, plan.After, tc.want)
			}
		})
	}
}
