// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// followLease looks at the run that executes: its claim, its Job, its end, its
// expiry.
func followLease(s *Snapshot) []Op {
	if s.leased == (runkey.Identity{}) {
		return nil
	}
	run := s.Run(s.leased)
	if run == nil {
		if s.Gone[s.leased] {
			return s.release(s.leased, s.leasedGeneration(), true)
		}
		return nil
	}
	switch s.role(run) {
	case RoleEnded, RoleBound, RoleMisbound, RoleSettled:
		// A receipt may be bound by another controller while it is claimed.
		return s.release(s.leased, s.leasedGeneration(), run.RunsAsJob())
	}
	switch isAhead := run.LeaseGeneration() > s.leasedGeneration(); {
	case isAhead && !run.IsHeld():
		return s.finishExpiry(run)
	case isAhead:
		return s.expire(run) // The lease was taken past the key.
	default:
		return s.followExecution(run)
	}
}

// followExecution looks at a run that holds the key, whether or not its own
// status says so yet.
func (s *Snapshot) followExecution(run *v1alpha1.JobRun) []Op {
	e := s.execution(run)
	isStored := run.Status.Phase == v1alpha1.PhaseLeased
	switch {
	case e.Refused != nil:
		return s.refused(run, *e.Refused)
	case isStored && e.Job != nil && executor.IsFinished(e.Job):
		return s.finish(run, resultOf(e))
	case s.mustEnd(run):
		return s.cancelLeased(run)
	case !run.RunsAsJob():
		return s.followWorker(run, isStored)
	case e.HoldOff > 0:
		return nil
	case !isStored || run.Status.JobRef == nil:
		return s.storeClaim(run)
	case e.Expires && e.Left <= 0, e.JobGone:
		return s.expire(run)
	default:
		return nil
	}
}

// followWorker looks at a run that an external worker holds, or has claimed.
func (s *Snapshot) followWorker(run *v1alpha1.JobRun, isStored bool) []Op {
	e := s.execution(run)
	switch {
	case !isStored:
		return s.takeBackClaim(run)
	case !run.IsHeld():
		return s.takeGivenBack(run)
	case e.Overdue:
		return s.finish(run, failure(ReasonDeadlineExceeded, deadlineMessage(run)))
	case e.Expires && e.Left <= 0:
		return s.expire(run)
	default:
		return nil
	}
}

// takeBackClaim ends a worker's claim that the key has granted and that was never
// stored. It fences a claim that is stored late, and goes the way of an expiry.
// Nothing was executed, so nothing fails for it: while another run waits, the
// grant is left to the next claim.
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

// takeGivenBack lets a run without key wait again that its worker gave back. A run
// with a key that was given back has a higher generation than the key, and takes
// the way of an expiry; with the same generation, it never had a holder.
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

// finish ends a run: its status first, then, once its Job was looked at again,
// the key (P3).
func (s *Snapshot) finish(run *v1alpha1.JobRun, end ending) []Op {
	end.generation = s.claimedGeneration(run)
	end.keyVersion = s.claimedVersion()
	end.now = s.Now
	status := endedStatus(run, end)
	return join(
		s.checkKey(),
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		s.release(runkey.IdentityOf(run), end.generation, run.RunsAsJob()),
	)
}

// cancelLeased ends a run on request, once nothing of it executes.
func (s *Snapshot) cancelLeased(run *v1alpha1.JobRun) []Op {
	return join(stopRun(run), s.finish(run, ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
	}))
}

// release gives the key of a run that ended back, once nothing of it executes.
func (s *Snapshot) release(run runkey.Identity, generation int64, runsAsJob bool) []Op {
	var ops []Op
	if runsAsJob {
		ops = append(ops, StopRun{Run: run, Generation: generation})
	}
	if next, ok := runkey.Release(s.KeySpec(), run); s.Keyed && ok {
		ops = append(ops, SwapKey{Next: next})
	}
	return ops
}

// stopRun requires that nothing of a run executes.
func stopRun(run *v1alpha1.JobRun) []Op {
	if !run.RunsAsJob() {
		return nil
	}
	return []Op{StopRun{Run: runkey.IdentityOf(run), Generation: run.LeaseGeneration()}}
}

func deadlineMessage(run *v1alpha1.JobRun) string {
	return fmt.Sprintf("executed for longer than activeDeadlineSeconds, %d seconds", run.Spec.ActiveDeadlineSeconds)
}
