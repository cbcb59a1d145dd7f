// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// releasePending takes the waiting place from a run that is gone, has ended, became a receipt or is cancelled. The next
// run gets the place. For a cancelled run, the plan writes the key before the status (P3). A claim by another controller
// writes the same key, so only one of the two writes succeeds.
func releasePending(s *Snapshot) []Op {
	if !s.Keyed || s.pending == (runkey.Identity{}) {
		return nil
	}
	run := s.Run(s.pending)
	switch {
	case run == nil && s.ReservationLapsed:
		return s.passOnPlace()
	case run == nil:
		return nil
	case run.HasOutcome() || run.IsReceipt():
		return s.passOnPlace()
	case s.mustEnd(run):
		status := endedStatus(run, s.cancellation(run))
		return join(s.passOnPlace(), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	default:
		return nil
	}
}

// passOnPlace gives the waiting place to the next run. It frees the place if no run is next.
func (s *Snapshot) passOnPlace() []Op {
	next, ok := runkey.Withdraw(s.KeySpec(), s.pending)
	if !ok {
		return nil
	}
	if run := s.nextToWait(); run != nil {
		return s.seat(run)
	}
	return s.swapKey(runkey.LineUp(next, s.firstInLine(nil), s.Now))
}

// seat gives the waiting place to a run. If a receipt gets the place, it is promoted.
func (s *Snapshot) seat(run *v1alpha1.JobRun) []Op {
	ops := join([]Op{CheckRun{run}}, s.swapKey(s.seated(s.KeySpec(), run)))
	if run.WasAbsorbed() && run.Status.Phase == "" {
		ops = append(ops, Count{Metric{Kind: Promotion}})
	}
	return ops
}

// fillPending gives a free waiting place to the next run.
func fillPending(s *Snapshot) []Op {
	if !s.Keyed || s.pending != (runkey.Identity{}) {
		return nil
	}
	run := s.nextToWait()
	if run == nil {
		return nil
	}
	return join(s.checkRunsIfKeyMissing(), s.seat(run))
}

// restorePending gives the free waiting place to a run that reads Pending. The place is free because the key was deleted.
// This step comes before follow-lease, which must know whether a run waits when it expires a lease.
func restorePending(s *Snapshot) []Op {
	if run := s.nextToWait(); run != nil && s.role(run) == RoleStalePending {
		return fillPending(s)
	}
	return nil
}

// checkRunsIfKeyMissing reads the runs of the home live if the key is missing. The plan rebuilds the key from these runs.
func (s *Snapshot) checkRunsIfKeyMissing() []Op {
	if s.Key != nil {
		return nil
	}
	ops := s.checkKey()
	for _, run := range s.Runs {
		if !s.followsAnother(run) {
			ops = append(ops, CheckRun{run})
		}
	}
	return ops
}

// nextToWait returns the run that gets the waiting place next: the oldest one of the best precedence.
func (s *Snapshot) nextToWait() *v1alpha1.JobRun {
	var best *v1alpha1.JobRun
	for _, run := range s.Runs { // The oldest first.
		if s.precedence(run) > 0 && (best == nil || s.precedence(run) < s.precedence(best)) {
			best = run
		}
	}
	return best
}

// precedence returns the rank of a run for the waiting place. Rank 1 comes first. A run of rank 0 does not get the place.
func (s *Snapshot) precedence(run *v1alpha1.JobRun) int {
	if !s.isOpen(run) {
		return 0
	}
	switch s.role(run) {
	case RoleStalePending:
		return 1
	case RoleUnplaced, RoleUnanswered:
		return 2
	case RoleOrphaned:
		return 3
	default:
		return 0
	}
}

// clearStalePending clears the phase of a run that reads Pending while another run has the waiting place. The first run
// then waits without a phase until the place is free (P7).
func clearStalePending(s *Snapshot) []Op {
	if s.pending == (runkey.Identity{}) {
		return nil
	}
	for _, run := range s.Runs {
		if s.role(run) == RoleStalePending {
			return join(s.checkKey(), []Op{WriteStatus{run, inLineStatus(run)}})
		}
	}
	return nil
}

// announcePending writes Pending on the waiting run, after the status of the leased run has caught up with the key. It
// never writes Pending on a run of a Job that can start at once, because the step claim comes first.
func announcePending(s *Snapshot) []Op {
	run := s.Run(s.pending)
	if run == nil || !s.isAccepting(run) || !s.isPredecessorStored() {
		return nil
	}
	status := pendingStatus(run)
	switch role := s.role(run); {
	case role == RoleRequeued:
		status = requeuedStatus(statusOf(run)) // status.error may say why the run waits again.
	case role != RoleWaiting || run.Status.Phase != "":
		return nil
	}
	return join(s.checkKey(), []Op{WriteStatus{run, status}}, tellTriggered(run))
}

// isPredecessorStored reports whether the status of the leased run has caught up with the key. Before that, the leased
// run may still read Pending. A client must not see two runs Pending (P3).
func (s *Snapshot) isPredecessorStored() bool {
	if s.leased == (runkey.Identity{}) || s.Gone[s.leased] {
		return true
	}
	run := s.Run(s.leased)
	if run == nil {
		return false
	}
	return run.HasEnded() || (run.Status.Phase == v1alpha1.PhaseLeased && run.LeaseGeneration() == s.leasedGeneration())
}

// cancelWaiting ends a cancelled JobRun that the key does not name and that is not bound to a run.
func cancelWaiting(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if !s.mustEnd(run) || !s.endsAlone(run) {
			continue
		}
		status := endedStatus(run, s.cancellation(run))
		return join(stopRun(run, s.claimedGeneration(run)), s.checkKey(), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	}
	return nil
}

// endsAlone reports whether a JobRun can end without a write to the key or to another run.
func (s *Snapshot) endsAlone(run *v1alpha1.JobRun) bool {
	switch s.role(run) {
	case RoleStalePending, RoleUnplaced, RoleUnanswered, RoleOrphaned, RoleKeptBack, RoleRecalled, RoleUnadmitted:
		return true
	case RoleWaiting:
		return !s.Keyed
	case RoleUndecided:
		return s.isWithdrawn(run)
	default:
		return false
	}
}

// cancellation returns the ending of a cancelled JobRun that does not execute.
func (s *Snapshot) cancellation(run *v1alpha1.JobRun) ending {
	end := ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
		generation: run.LeaseGeneration(), now: s.Now,
	}
	switch {
	case run.WasRestored():
		end.reason = ReasonRestored
		end.message = fmt.Sprintf("restored by Velero (restore %s): it was triggered before the backup, so it does not execute again; "+
			"to execute it, trigger it again: kubectl jobrun retrigger %s", run.Spec.Admission.Restore, run.Name)
	case s.isWithdrawn(run) && !run.EndRequested():
		b := run.Spec.Batch
		end.reason = ReasonBatchWithdrawn
		end.message = fmt.Sprintf("batch %s was withdrawn: not all of its %d members were created", b.ID, b.Size)
	}
	return end
}
