// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// claim starts the waiting run if a Job executes it and no run is leased. Any other run waits for the claim of an external
// worker: see internal/webhook/v1alpha1/worker_claim.go.
func claim(s *Snapshot) []Op {
	run := s.Run(s.pending)
	if s.leased != (runkey.Identity{}) || !s.mayStart(run) {
		return nil
	}
	e := s.execution(run)
	switch {
	case e.Refused != nil:
		return s.refused(run, *e.Refused)
	case e.HoldOff > 0:
		return nil
	case s.Keyed && (s.hasUnfinishedJob() || !s.hasRoomForNote(len(s.Confirmed))):
		return nil // The end of a stray Job is an event. A note goes after a while.
	case s.Keyed:
		return join(s.checkUnconfirmed(), s.claimKey(runkey.Confirm(s.KeySpec(), s.Confirmed), run))
	default:
		return s.claimByJob(run)
	}
}

// mayStart reports whether the controller may start a run that waits, as soon as its key is free.
func (s *Snapshot) mayStart(run *v1alpha1.JobRun) bool {
	return run != nil && s.role(run) == RoleWaiting && run.RunsAsJob() && s.isAccepting(run) && s.holdsBack(run) == ""
}

// holdsBack returns why the definition of a run keeps it from starting; empty if it does not.
func (s *Snapshot) holdsBack(run *v1alpha1.JobRun) string {
	return executor.HoldsBack(s.Definition, run)
}

// claimKey claims the run that waits for key. The plan writes the key, the Job and the status, in this order (P3). It reads
// neither key nor run live. If the key has changed, the swap fails. If the run has ended or was cancelled, or another
// controller has ended the lease, the fence on Jobs refuses the Job (P4).
// The write of the key also seats the first run in line, so that no trigger takes the place in between (P7).
func (s *Snapshot) claimKey(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) []Op {
	version := s.Key.ResourceVersion
	next, ok := runkey.Claim(key, version, run.LeaseGeneration())
	if !ok {
		return nil
	}
	generation := next.Leased.Generation
	var checks []Op
	if first := s.firstInLine(nil); first != nil {
		checks, next = []Op{CheckRun{first}}, s.seated(next, first)
	}
	return join(
		checks,
		s.swapKey(next),
		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, version}},
		[]Op{WriteStatus{run, leasedStatus(run, generation, version, s.Now)}},
		tellLeased(run, s.Now),
	)
}

// checkRunForOldFence reads a run live before its Job is created, while the fence of an older replica may answer. That fence
// does not look at a run with a key. The fence does since the version that lets keys remember their runs.
func (s *Snapshot) checkRunForOldFence(run *v1alpha1.JobRun) []Op {
	if s.Memory || !s.Keyed {
		return nil
	}
	return []Op{CheckRun{run}}
}

// handOver claims the waiting run with the swap that releases the key, whose result is free. So the run starts at once. It
// returns nil if the claim must wait: for a Job that may still appear, for another step of this home, for a live read of the
// first run in line, or because the API server has refused the run's Job.
func (s *Snapshot) handOver(free SwapKey) []Op {
	run := s.Run(s.pending)
	if !s.Keyed || !s.Notes || !s.mayStart(run) || s.firstInLine(nil) != nil || len(runkey.Unconfirmed(free.Next)) > 0 || s.hasUnfinishedJob() {
		return nil
	}
	if e := s.execution(run); e.Refused != nil || e.HoldOff > 0 || finishDisplacement(s) != nil || clearStalePending(s) != nil {
		return nil
	}
	ops := s.claimKey(free.Next, run)
	for i := range ops {
		if swap, ok := ops[i].(SwapKey); ok {
			swap.Noted, swap.NotedIsLast = free.Noted, true
			ops[i] = swap
		}
	}
	return ops
}

// claimByJob claims a run without a key. Creating the Job is the claim: the API server stores only one Job of that name.
func (s *Snapshot) claimByJob(run *v1alpha1.JobRun) []Op {
	generation := run.LeaseGeneration() + 1
	var stopStrays []Op
	if run.Status.Lease != nil { // A run that was never leased can only have the Job of this claim.
		stopStrays = []Op{StopStrays{}}
	}
	return join(
		stopStrays,
		[]Op{CreateJob{run, generation, ""}},
		[]Op{WriteStatus{run, leasedStatus(run, generation, "", s.Now)}},
		tellLeased(run, s.Now),
	)
}

// storeClaim finishes the claim of a run that the key leases: it creates the Job and writes the status.
func (s *Snapshot) storeClaim(run *v1alpha1.JobRun) []Op {
	generation := s.leasedGeneration()
	var checkPods []Op
	if s.execution(run).Job == nil {
		checkPods = []Op{CheckPods{runkey.IdentityOf(run)}}
	}
	return join(
		s.checkKey(),
		checkPods,
		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, s.claimedVersion()}},
		[]Op{WriteStatus{run, leasedStatus(run, generation, s.claimedVersion(), s.Now)}},
		tellLeased(run, s.Now),
	)
}

// refused fails a run whose Job is refused for good. After any other refusal it writes Leased without a jobRef, and
// puts the refusal's message into status.error. The run keeps its key while the controller tries again.
func (s *Snapshot) refused(run *v1alpha1.JobRun, refusal Refusal) []Op {
	if refusal.Final {
		return s.finish(run, failure(ReasonInvalidJob, refusal.Message))
	}
	message := oneLine(refusal.Message)
	if run.Status.Phase == v1alpha1.PhaseLeased && run.Status.Error == message {
		return nil
	}
	status := leasedStatus(run, s.claimedGeneration(run), s.claimedVersion(), s.Now)
	status.JobRef, status.Definition = nil, nil
	status.Error = message
	return join(s.checkKey(), []Op{WriteStatus{run, status}}, tellTriggered(run), []Op{Emit{blockedEvent(run, refusal.Message)}})
}

// claimedGeneration returns the generation of a leased run. For any other run it returns the generation that
// the next claim will have.
func (s *Snapshot) claimedGeneration(run *v1alpha1.JobRun) int64 {
	if s.leased == runkey.IdentityOf(run) {
		return s.leasedGeneration()
	}
	return run.LeaseGeneration() + 1
}

// claimedVersion returns the version of the key that the claim of the leased run was based on. It is empty without a key,
// or while the key leases no run.
func (s *Snapshot) claimedVersion() string {
	if !s.Keyed || s.Key == nil || s.Key.Spec.Leased == nil {
		return ""
	}
	return s.Key.Spec.Leased.FromVersion
}
