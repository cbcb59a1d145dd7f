// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// executing returns a leased run and its Job.
func executing(run *wrappers.JobRunWrapper, generation int64, from string) []client.Object {
	run = run.Leased(generation, from)
	return []client.Object{run.Obj(), makeJob(run.Obj(), generation).Obj()}
}

// and concatenates lists of objects.
func and(groups ...[]client.Object) []client.Object {
	var all []client.Object
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

func of(objects ...client.Object) []client.Object { return objects }

// stripped returns a Job without annotations.
func stripped(job *batchv1.Job) *batchv1.Job {
	job.Annotations = nil
	return job
}

func TestFollowLease(t *testing.T) {
	leased := makeKey("k").Leased("a", 1, "5")
	run := made("a").Leased(1, "5")
	decisions{
		"it goes on": {given: and(of(leased.Obj()), executing(made("a"), 1, "5"))},
		"it goes on, although its Job lost annotations": {
			given: of(leased.Obj(), run.Obj(), stripped(makeJob(run.Obj(), 1).Obj())),
		},
		"it ends, although its Job lost annotations": {
			given: of(leased.Obj(), run.Obj(), stripped(makeJob(run.Obj(), 1).Complete().Obj())),
			want: `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"it goes on, whatever becomes of others": {
			given: and(of(leased.Obj(), makeJob(run.Obj(), 0).Failed("x", "y").Obj()), executing(made("a"), 1, "5")),
		},
		"the lease is not stored yet": {
			given: of(leased.Obj(), made("a").Pending().Obj()),
			want: `follow-lease: CheckKey; CheckPods(a); CreateJob(a-1); WriteStatus(a, Leased, g1<5);
				Emit(RunLeased a); Count(leased)`,
		},
		"the lease is not stored yet, and the run was never heard of": {
			given: of(leased.Obj(), made("a").Obj()),
			want: `follow-lease: CheckKey; CheckPods(a); CreateJob(a-1); WriteStatus(a, Leased, g1<5);
				Emit(RunTriggered a); Emit(RunLeased a); Count(leased)`,
		},
		"the lease is not stored yet, and its Job is there": {
			given: of(leased.Obj(), made("a").Pending().Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want: `follow-lease: CheckKey; CreateJob(a-1); WriteStatus(a, Leased, g1<5);
				Emit(RunLeased a); Count(leased)`,
		},
		"a worker's claim that is not stored yet is the worker's": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Pending().Obj()),
		},
		"a worker's claim that was not stored in time": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Pending().Obj()),
			with:  func(c *scene) { c.expired = true },
			want:  "follow-lease: CheckKey; WriteStatus(a, Pending, g1, no holder); SwapKey(pending=a g1)",
		},
		"a worker's claim that was not stored, and is fenced": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Holder("").Pending().Obj()),
			want:  "follow-lease: CheckKey; WriteStatus(a, Pending, g1, no holder); SwapKey(pending=a g1)",
		},
		"a worker's claim that was not stored in time, and another run waits": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), makeRun("a").Key("k").Created().Pending().Obj(),
				makeRun("b").Key("k").Created().Obj()),
			with: func(c *scene) { c.expired = true },
		},
		"a worker that executes for too long": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), makeRun("a").Key("k").Created().Deadline(60).Leased(1, "5").Holder("worker").Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].Overdue = true }
			},
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=DeadlineExceeded,
				"the lease lasted longer than activeDeadlineSeconds, 60 seconds"); Emit(RunFailed a); SwapKey(free)`,
		},
		"a worker without a key gives its run back": {
			given: of(makeRun("a").Created().Leased(2, "").Holder("").Obj()),
			want:  "follow-lease: WriteStatus(a, Pending)",
		},
		"a run that has no holder, and was not given back": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Holder("").Obj()),
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1);
				SwapKey(pending=a g2); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending, g2<5, no holder, attempts 1)`,
		},
		"a run whose claim bypassed the key": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Leased(2, "5").Holder("worker").Obj()),
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g3<5, no holder, attempts 1);
				SwapKey(pending=a g3); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending, g3<5, no holder, attempts 1)`,
		},
		"the run is not in the cache yet": {
			given: of(leased.Obj()),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
		},
		"the run is gone": {
			given: of(leased.Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(unconfirmed=a-1)",
		},
		"the run is gone and another waits": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Pending().Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(pending=b unconfirmed=a-1)",
		},
		"another run has its name": {
			given: of(leased.Obj(), made("a").UID("other").Token("other").Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(unconfirmed=a-1)",
		},
		"the run ended": {
			given: of(leased.Obj(), made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj()),
			want:  "follow-lease: StopRun(a g1); SwapKey(free, or note a-1)",
		},
		"a worker's run ended": {
			given: of(leased.Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()),
			want:  "follow-lease: SwapKey(free)",
		},
		"the Job completed": {
			given: of(leased.Obj(), made("a").Leased(1, "5").Obj(), makeJob(run.Obj(), 1).Complete().Obj()),
			want: `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the Job completed with output": {
			given: of(leased.Obj(), made("a").Leased(1, "5").Obj(), makeJob(run.Obj(), 1).Complete().Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) {
					o.Executions[wrappers.UIDOf("a")].Output = &apiextensionsv1.JSON{Raw: []byte(`{"rows":3}`)}
				}
			},
			want: `follow-lease: WriteStatus(a, Completed, finished g1, output {"rows":3}, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the Job failed": {
			given: of(leased.Obj(), made("a").Leased(1, "5").Obj(), makeJob(run.Obj(), 1).Failed("BackoffLimitExceeded", "too often").Obj()),
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=BackoffLimitExceeded, "BackoffLimitExceeded: too often");
				Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the Job completed while it was cancelled": {
			given: of(leased.Obj(), made("a").Cancel().Leased(1, "5").Obj(), makeJob(run.Obj(), 1).Complete().Obj()),
			want: `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the Job completed and another run waits": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj(), makeJob(run.Obj(), 1).Complete().Obj()),
			want: `follow-lease: WriteStatus(a, Completed, finished g1, Complete=Completed); Emit(RunCompleted a);
				StopRun(a g1); SwapKey(leased=b g1<10, or note a-1); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"it is cancelled": {
			given: and(of(leased.Obj()), executing(made("a").Cancel(), 1, "5")),
			want: `follow-lease: StopRun(a g1); WriteStatus(a, Cancelled, finished g1, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"it is being deleted": {
			given: and(of(leased.Obj()), executing(made("a").Deleting(), 1, "5")),
			want: `follow-lease: StopRun(a g1); WriteStatus(a, Cancelled, finished g1, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g1); SwapKey(unconfirmed=a-1)`,
		},
		"a run without a key completed": {
			given: of(keyless("a").Leased(2, "").Obj(), makeJob(keyless("a").Obj(), 2).Complete().Obj()),
			want:  `follow-lease: WriteStatus(a, Completed, finished g2, Complete=Completed); Emit(RunCompleted a); StopRun(a g2)`,
		},
		"a run without a key is cancelled": {
			given: executing(keyless("a").Cancel(), 2, ""),
			want: `follow-lease: StopRun(a g2); WriteStatus(a, Cancelled, finished g2, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g2)`,
		},
	}.run(t)
}

// lost is the error of run "a" whose Job is gone.
const lost = `"Job a-1 is gone, and it is not known how it ended; if the run executes again, its work may be done twice"`

func TestExpire(t *testing.T) {
	expired := func(c *scene) { c.expired = true }
	heartbeat := made("a").LeaseSeconds(5)
	decisions{
		"the Job vanished": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj()),
			want: `follow-lease: StopRun(a g1); CheckKey; ConfirmLoss(a); WriteStatus(a, Leased, g2<5, no holder, attempts 1, no job, ` + lost + `);
				Emit(JobLost a); SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued);
				WriteStatus(a, Pending, g2<5, no holder, attempts 1, no job, ` + lost + `)`,
		},
		"the Job vanished, and the run must not execute again": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").FailOnJobLost().Leased(1, "5").Obj()),
			want: `follow-lease: CheckKey; ConfirmLoss(a); WriteStatus(a, Failed, finished g1, attempts 1, Failed=JobLost,
				"Job a-1 is gone, and it is not known how it ended; the run does not execute again, because onJobLost is Fail");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the Job vanished, and the run without a key must not execute again": {
			given: of(keyless("a").FailOnJobLost().Leased(1, "").Obj()),
			want: `follow-lease: ConfirmLoss(a); WriteStatus(a, Failed, finished g1, attempts 1, Failed=JobLost,
				"Job a-1 is gone, and it is not known how it ended; the run does not execute again, because onJobLost is Fail");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1)`,
		},
		"the Job gave no sign of life, and a lost Job must not execute again": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(made("a").LeaseSeconds(5).FailOnJobLost(), 1, "5")),
			with:  expired,
			want: `follow-lease: StopRun(a g1); CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1, no job);
				SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending, g2<5, no holder, attempts 1, no job)`,
		},
		"the Job gave no sign of life": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(heartbeat, 1, "5")),
			with:  expired,
			want: `follow-lease: StopRun(a g1); CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1, no job);
				SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending, g2<5, no holder, attempts 1, no job)`,
		},
		"the Job gives signs of life": {
			given: and(of(makeKey("k").Leased("a", 1, "5").Obj()), executing(heartbeat, 1, "5")),
		},
		"the Job's Pods have not ended": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Leased(1, "5").Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].JobLost = false }
			},
		},
		"a worker's lease": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker").Obj()),
			with:  expired,
			want: `follow-lease: CheckKey; WriteStatus(a, Leased, g2<5, no holder, attempts 1);
				SwapKey(pending=a g2); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending, g2<5, no holder, attempts 1)`,
		},
		"another run waits": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Obj()),
			want: `follow-lease: CheckKey; ConfirmLoss(a); WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; pending run b already exists");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1); SwapKey(leased=b g1<10, or note a-1); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"the key is reserved for a run that may come": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj()),
			with:  func(c *scene) { c.coming = true },
		},
		"the key is reserved for a run that never came": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj()),
			want:  "release-pending: SwapKey(leased=a g1<5)",
		},
		"the run that waits is cancelled": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Leased(1, "5").Obj(), made("b").Pending().Cancel().Obj()),
			want: `release-pending: SwapKey(leased=a g1<5); WriteStatus(b, Cancelled, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled b)`,
		},
		"the last attempt": {
			given: of(makeKey("k").Leased("a", 5, "5").Obj(), made("a").Leased(5, "5").Attempts(2).Obj()),
			want: `follow-lease: CheckKey; ConfirmLoss(a); WriteStatus(a, Failed, finished g5, attempts 3, Failed=LeaseExpired, "Lease expired; all 3 attempts are used");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g5); SwapKey(free, or note a-5)`,
		},
		"the only attempt": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").MaxAttempts(1).Leased(1, "5").Obj()),
			want: `follow-lease: CheckKey; ConfirmLoss(a); WriteStatus(a, Failed, finished g1, attempts 1, Failed=LeaseExpired, "Lease expired; all 1 attempts are used");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"the last attempt counts before the waiting run": {
			given: of(makeKey("k").Leased("a", 5, "5").Pending("b").Obj(), made("a").Leased(5, "5").Attempts(2).Obj(), made("b").Pending().Obj()),
			want: `follow-lease: CheckKey; ConfirmLoss(a); WriteStatus(a, Failed, finished g5, attempts 3, Failed=LeaseExpired, "Lease expired; all 3 attempts are used");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g5); SwapKey(leased=b g1<10, or note a-5); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"a run without a key": {
			given: of(keyless("a").Leased(1, "").Obj()),
			want: `follow-lease: StopRun(a g1); ConfirmLoss(a); WriteStatus(a, Pending, g2, no holder, attempts 1, no job, ` + lost + `);
				Emit(JobLost a); Emit(RunLeaseExpired a); Count(requeued)`,
		},
		"a worker's run without a key": {
			given: of(makeRun("a").Created().Leased(1, "").Holder("worker").Obj()),
			with:  expired,
			want:  `follow-lease: WriteStatus(a, Pending, g2, no holder, attempts 1); Emit(RunLeaseExpired a); Count(requeued)`,
		},
		"the last attempt of a run without a key": {
			given: of(keyless("a").Leased(5, "").Attempts(2).Obj()),
			want: `follow-lease: ConfirmLoss(a); WriteStatus(a, Failed, finished g5, attempts 3, Failed=LeaseExpired, "Lease expired; all 3 attempts are used");
				Emit(JobLost a); Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g5)`,
		},
	}.run(t)
}

func TestFinishExpiry(t *testing.T) {
	fenced := func() *wrappers.JobRunWrapper { return made("a").Leased(1, "5").Fenced() }
	decisions{
		"the fence is written": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), fenced().Obj()),
			want:  `follow-lease: StopRun(a g1); CheckRun(a); SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending)`,
		},
		"another run waits by now": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), fenced().Obj(), made("b").Pending().Obj()),
			want: `follow-lease: CheckKey; WriteStatus(a, Failed, finished g2, Failed=LeaseExpired, "Lease expired; pending run b already exists");
				Emit(RunLeaseExpired a); Emit(RunFailed a); Count(failed); StopRun(a g1); SwapKey(leased=b g1<10, or note a-1); CreateJob(b-1); WriteStatus(b, Leased, g1<10); Emit(RunLeased b); Count(leased)`,
		},
		"the key is reserved by now for a run that may come": {
			given: of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), fenced().Obj()),
			with:  func(c *scene) { c.coming = true },
		},
		"a Job that comes late is deleted first": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), fenced().Obj(), makeJob(made("a").Obj(), 1).Obj()),
			want:  `follow-lease: StopRun(a g1); CheckRun(a); SwapKey(pending=a g2, or note a-1); Emit(RunLeaseExpired a); Count(requeued); WriteStatus(a, Pending)`,
		},
	}.run(t)
}

func TestBlockedAndInvalid(t *testing.T) {
	with := func(r decision.Refusal) func(*scene) {
		return func(c *scene) {
			c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].Refused = &r }
		}
	}
	claimed := of(makeKey("k").Leased("a", 1, "5").Obj(), made("a").Obj())
	blocked := of(makeKey("k").Leased("a", 1, "5").Obj(), unnamed(made("a").Leased(1, "5").Error("no quota")).Obj())
	decisions{
		"refused for now": {
			given: claimed,
			with:  with(decision.Refusal{Message: "no quota"}),
			want:  `follow-lease: CheckKey; WriteStatus(a, Leased, g1<5, "no quota"); Emit(RunTriggered a); Emit(RunBlocked a)`,
		},
		"refused again, for the same reason": {
			given: blocked,
			with:  with(decision.Refusal{Message: "no quota"}),
		},
		"refused again, for another reason": {
			given: blocked,
			with:  with(decision.Refusal{Message: "no webhook"}),
			want:  `follow-lease: CheckKey; WriteStatus(a, Leased, "no webhook"); Emit(RunBlocked a)`,
		},
		"tried again": {
			given: blocked,
			want: `follow-lease: CheckKey; CheckPods(a); CreateJob(a-1); WriteStatus(a, Leased, "");
				Emit(RunLeased a)`,
		},
		"not before its time": {
			given: blocked,
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].HoldOff = time.Second }
			},
		},
		"cancelled meanwhile": {
			given: of(makeKey("k").Leased("a", 1, "5").Obj(), unnamed(made("a").Cancel().Leased(1, "5").Error("no quota")).Obj()),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Executions[wrappers.UIDOf("a")].HoldOff = time.Second }
			},
			want: `follow-lease: StopRun(a g1); WriteStatus(a, Cancelled, finished g1, Cancelled=Cancelled, "cancelled on request");
				Emit(RunCancelled a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
		"a run without a key, tried again": {
			given: of(unnamed(keyless("a").Leased(1, "").Error("no quota")).Obj()),
			want:  `follow-lease: CheckPods(a); CreateJob(a-1); WriteStatus(a, Leased, ""); Emit(RunLeased a)`,
		},
		"blocked, then invalid": {
			given: blocked,
			with:  with(decision.Refusal{Final: true, Message: "no such field"}),
			want: `follow-lease: WriteStatus(a, Failed, finished g1, Failed=InvalidJob, "no such field");
				Emit(RunFailed a); StopRun(a g1); SwapKey(free, or note a-1)`,
		},
	}.run(t)
}

// unnamed removes the jobRef from the status of a run.
func unnamed(run *wrappers.JobRunWrapper) *wrappers.JobRunWrapper {
	run.Status.JobRef = nil
	return run
}

func TestRestoreLease(t *testing.T) {
	decisions{
		"the key was deleted": {
			given: executing(made("a"), 3, "5"),
			want:  "restore-lease: CheckKey; CheckRun(a); CheckRun(a); SwapKey(leased=a g3<5)",
		},
		"the key was deleted and another run waits": {
			given: and(executing(made("a"), 3, "5"), of(made("b").Pending().Obj(), answered("r", "b", "10").Obj())),
			want:  "restore-lease: CheckKey; CheckRun(a); CheckRun(b); CheckRun(a); SwapKey(leased=a g3<5)",
		},
		"the key was deleted and reserved anew": {
			given: and(of(makeKey("k").Pending("b").Obj(), made("b").Obj()), executing(made("a"), 3, "5")),
			want:  "restore-lease: CheckRun(a); SwapKey(pending=b leased=a g3<5)",
		},
		"the key never heard of the claim": {
			given: and(of(makeKey("k").Pending("a").Obj()), executing(made("a"), 3, "5")),
			want:  "restore-lease: CheckRun(a); SwapKey(leased=a g3<5)",
		},
		"the lease expired and only the status is behind": {
			given: of(makeKey("k").Pending("a").LastGeneration(2).Obj(), made("a").Leased(1, "5").Fenced().Obj()),
			want:  "announce-pending: CheckKey; WriteStatus(a, Pending)",
		},
		"a run without a key has no place": {given: executing(keyless("a"), 3, "")},
	}.run(t)
}

func TestDropSupersededLease(t *testing.T) {
	other := func(waiting string) client.Object {
		key := makeKey("k").Leased("b", 1, "9")
		if waiting != "" {
			key.Pending(waiting)
		}
		return key.Obj()
	}
	decisions{
		"another run has the lease": {
			given: and(of(other("")), executing(made("b"), 1, "9"), of(made("a").Leased(3, "5").Obj())),
			want:  "drop-superseded-lease: StopRun(a g3); CheckKey; WriteStatus(a, -, g4<5, no holder, attempts 1, no job); Emit(RunLeaseExpired a)",
		},
		"another run has the lease and a third waits": {
			given: and(of(other("c")), executing(made("b"), 1, "9"), of(made("a").Leased(3, "5").Obj(), made("c").Pending().Obj())),
			want:  "drop-superseded-lease: StopRun(a g3); CheckKey; WriteStatus(a, -, g4<5, no holder, attempts 1, no job); Emit(RunLeaseExpired a)",
		},
		"a run of the same name has the lease": {
			given: of(makeKey("k").Leased("a", 1, "9").Obj(), made("a").UID("other").Token("earlier").Leased(3, "5").Obj()),
			with:  func(c *scene) { c.change = func(o *decision.Observation) { clear(o.Gone) } },
			want:  "drop-superseded-lease: StopRun(a g3); CheckKey; WriteStatus(a, -, g4<5, no holder, attempts 1, no job); Emit(RunLeaseExpired a)",
		},
		"it was the last attempt": {
			given: and(of(other("")), executing(made("b"), 1, "9"), of(made("a").Leased(3, "5").Attempts(2).Obj())),
			want: `drop-superseded-lease: StopRun(a g3); CheckKey;
				WriteStatus(a, Failed, finished g3, attempts 3, Failed=LeaseExpired, "Lease expired; all 3 attempts are used"); Emit(RunLeaseExpired a)`,
		},
		"its Job goes first": {
			given: and(of(other("")), executing(made("b"), 1, "9"), executing(made("a"), 3, "5")),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-3)",
		},
	}.run(t)
}

func TestDeleteStrayJob(t *testing.T) {
	a := made("a").Obj()
	decisions{
		"of a run that waits": {
			given: of(makeKey("k").Pending("a").Obj(), a, makeJob(a, 1).Obj()),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"of an earlier generation": {
			given: and(of(makeKey("k").Leased("a", 2, "5").Obj(), makeJob(a, 1).Obj()), executing(made("a"), 2, "5")),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"of a run of that name with another token": {
			given: and(of(makeKey("k").Leased("a", 2, "5").Obj(), makeJob(made("a").Token("earlier").Obj(), 7).Obj()), executing(made("a"), 2, "5")),
			want:  "delete-stray-job: CheckKey; DeleteJob(a-7)",
		},
		"of a key that leases no run": {
			given: of(makeJob(a, 1).Obj(), made("a").Cancel().Obj()),
			with:  func(c *scene) { c.req = home },
			want:  "delete-stray-job: CheckKey; DeleteJob(a-1)",
		},
		"it is being deleted": {
			given: and(of(makeKey("k").Leased("a", 2, "5").Obj(), makeJob(a, 1).Deleting().Obj()), executing(made("a"), 2, "5")),
		},
		"it has ended": {
			given: and(of(makeKey("k").Leased("a", 2, "5").Obj(), makeJob(a, 1).Failed("x", "").Obj()), executing(made("a"), 2, "5")),
		},
		"a claim without key that is not stored yet": {
			given: of(keyless("a").Obj(), makeJob(keyless("a").Obj(), 1).Obj()),
			want: `claim: CreateJob(a-1); WriteStatus(a, Leased, g1);
				Emit(RunTriggered a); Emit(RunLeased a); Count(leased)`,
		},
		"of a run without a key, after its lease expired": {
			given: of(keyless("a").Leased(1, "").Fenced().Phase(v1alpha1.PhasePending).Obj(), makeJob(keyless("a").Obj(), 1).Obj()),
			want:  "delete-stray-job: CheckRun(a); DeleteJob(a-1)",
		},
		"of an earlier run of that name without a key": {
			given: and(executing(keyless("a"), 1, ""), of(makeJob(keyless("a").UID("earlier").Token("earlier").Obj(), 2).Obj())),
			with: func(c *scene) {
				c.change = func(o *decision.Observation) { o.Gone[runOfJob(c, "a-2")] = true }
			},
			want: "delete-stray-job: DeleteJob(a-2)",
		},
	}.run(t)
}
