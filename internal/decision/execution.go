// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// followLease follows the leased run. It creates the Job, stores the claim in the status, ends the run, expires the lease
// and releases the key.
func followLease(s *Snapshot) []Op {
	if s.leased == (runkey.Identity{}) {
		return nil
	}
	run := s.Run(s.leased)
	if (run == nil || run.RunsAsJob()) && !s.hasRoomForNote(0) {
		return nil // The RunKey was deleted and restored. A claim waits for room.
	}
	if run == nil {
		if s.Gone[s.leased] {
			return s.release(s.leased, s.leasedGeneration(), true)
		}
		return nil
	}
	switch s.role(run) {
	case RoleEnded, RoleBound, RoleMisbound, RoleSettled:
		return s.release(s.leased, s.leasedGeneration(), run.RunsAsJob())
	}
	switch isAhead := run.LeaseGeneration() > s.leasedGeneration(); {
	case isAhead && !run.IsHeld():
		return s.finishExpiry(run)
	case isAhead:
		return s.expire(run) // A claim bypassed the key.
	default:
		return s.followExecution(run)
	}
}

// followExecution follows a run that the key leases. Possibly the run does not read Leased yet.
func (s *Snapshot) followExecution(run *v1alpha1.JobRun) []Op {
	e := s.execution(run)
	isStored := run.Status.Phase == v1alpha1.PhaseLeased
	hasFinished := e.Result != nil
	switch {
	case e.Refused != nil:
		return s.refused(run, *e.Refused)
	case isStored && hasFinished:
		return s.finish(run, resultOf(run, e))
	case run.RunsAsJob() && e.Overdue && !hasFinished: // Before a cancel, which may wait for Pods.
		return s.finish(run, overdue(run))
	case s.mustEnd(run):
		return s.cancelLeased(run)
	case !run.RunsAsJob():
		return s.followWorker(run, isStored)
	case e.HoldOff > 0:
		return nil
	case !isStored || run.Status.JobRef == nil:
		return s.storeClaim(run)
	case e.JobLost:
		return s.loseJob(run)
	case e.Expires && e.Left <= 0, e.JobGone:
		return s.expire(run)
	default:
		return nil
	}
}

// followWorker follows a run that an external worker holds or has claimed.
func (s *Snapshot) followWorker(run *v1alpha1.JobRun, isStored bool) []Op {
	e := s.execution(run)
	switch {
	case !isStored:
		return s.takeBackClaim(run)
	case !run.IsHeld():
		return s.takeGivenBack(run)
	case e.Overdue:
		return s.finish(run, overdue(run))
	case e.Expires && e.Left <= 0:
		return s.expire(run)
	default:
		return nil
	}
}

// takeBackClaim ends a worker's claim that the webhook has granted, but that was not stored in time. The plan first
// raises lease.generation, which fences a claim that is stored late. Then it moves the run back to the waiting place.
// While another run waits, takeBackClaim leaves the grant to the next claim. Otherwise the run would fail although it
// never executed.
func (s *Snapshot) takeBackClaim(run *v1alpha1.JobRun) []Op {
	isFenced := run.LeaseGeneration() == s.leasedGeneration()
	if s.waitingBehind(run) != (runkey.Identity{}) || (s.execution(run).ClaimLeft > 0 && !isFenced) {
		return nil
	}
	status := statusOf(run)
	status.Lease = &v1alpha1.RunLease{Generation: s.leasedGeneration()}
	next, ok := runkey.Requeue(s.KeySpec(), run, s.leasedGeneration(), s.Now)
	if !ok {
		return nil
	}
	return join(s.checkKey(), []Op{WriteStatus{run, status}}, s.swapKey(next))
}

// takeGivenBack requeues a run that its worker gave back. Without a key, the run waits again at once. With a key, the
// worker has raised the generation above that of the key. Then finishExpiry requeues the run. If the generations are
// equal, the lease never had a holder, and takeGivenBack expires it.
func (s *Snapshot) takeGivenBack(run *v1alpha1.JobRun) []Op {
	switch {
	case !s.Keyed:
		return []Op{WriteStatus{run, pendingStatus(run)}}
	case run.LeaseGeneration() == s.leasedGeneration():
		return s.expire(run)
	default:
		return nil
	}
}

// finish ends a run. The plan writes the status. Then it stops the Job, waits for the Pods, and releases the key (P3). If the
// run reads Leased, the plan needs no look at the key before: whoever takes the lease away writes that status first (P5).
func (s *Snapshot) finish(run *v1alpha1.JobRun, end ending) []Op {
	end.generation = s.claimedGeneration(run)
	if !end.neverStarted {
		end.keyVersion = s.claimedVersion()
	}
	end.now = s.Now
	status := endedStatus(run, end)
	var checks []Op
	if run.Status.Phase != v1alpha1.PhaseLeased {
		checks = s.checkKey()
	}
	return join(
		checks,
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		tellOutputLost(run, end),
		s.release(runkey.IdentityOf(run), end.generation, run.RunsAsJob()),
	)
}

// cancelLeased ends a cancelled run after its Job and Pods have stopped.
func (s *Snapshot) cancelLeased(run *v1alpha1.JobRun) []Op {
	return join(stopRun(run, s.claimedGeneration(run)), s.finish(run, ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
		neverStarted: run.Status.Phase != v1alpha1.PhaseLeased && s.execution(run).Job == nil,
	}))
}

// release removes the lease of an ended run from the key, after its Job and Pods have stopped. The same swap claims the run
// that waits, if it can.
func (s *Snapshot) release(run runkey.Identity, generation int64, runsAsJob bool) []Op {
	var ops []Op
	if runsAsJob {
		ops = append(ops, StopRun{Run: run, Generation: generation})
	}
	next, ok := runkey.Release(s.KeySpec(), run)
	if !s.Keyed || !ok {
		return ops
	}
	swap := s.giveUp(next, run, generation, runsAsJob)
	if claim := s.handOver(swap); claim != nil {
		return join(ops, claim)
	}
	return append(ops, swap)
}

// stopRun requires that no Job and no Pod of a run executes. generation is the one of its last lease.
func stopRun(run *v1alpha1.JobRun, generation int64) []Op {
	if !run.RunsAsJob() {
		return nil
	}
	return []Op{StopRun{Run: runkey.IdentityOf(run), Generation: generation}}
}
