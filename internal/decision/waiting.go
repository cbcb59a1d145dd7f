// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// releasePending takes the waiting place from a run that is gone, has ended or
// is cancelled, and gives it to the next one that waits for it. The key goes
// first, for it races the claim (P3).
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
		// A receipt may be bound by another controller while it is promoted.
		return s.passOnPlace()
	case s.mustEnd(run):
		status := endedStatus(run, s.cancellation(run))
		return join(s.passOnPlace(), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	default:
		return nil
	}
}

// passOnPlace gives the waiting place to its next run, or frees it.
func (s *Snapshot) passOnPlace() []Op {
	next, ok := runkey.Withdraw(s.KeySpec(), s.pending)
	if !ok {
		return nil
	}
	if run := s.nextToWait(); run != nil {
		return s.seat(run)
	}
	return s.swapKey(next)
}

// seat gives the waiting place to a run.
func (s *Snapshot) seat(run *v1alpha1.JobRun) []Op {
	ops := join([]Op{CheckRun{run}}, s.swapKey(runkey.Seat(s.KeySpec(), run, s.Now)))
	if run.WasAbsorbed() && run.Status.Phase == "" {
		ops = append(ops, Count{Metric{Kind: Promotion}})
	}
	return ops
}

// fillPending gives a free waiting place to the run that waits for it longest.
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

// restorePending gives a run that reads Pending its place in the key back, when the
// key was deleted: whether a run waits decides what becomes of an expired lease.
func restorePending(s *Snapshot) []Op {
	if run := s.nextToWait(); run != nil && s.role(run) == RoleStalePending {
		return fillPending(s)
	}
	return nil
}

// checkRunsIfKeyMissing makes sure that a key is rebuilt from live objects.
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

// nextToWait is the run that gets the waiting place next: first one that reads
// Pending already, then runs by age, then receipts without a run, by age.
func (s *Snapshot) nextToWait() *v1alpha1.JobRun {
	var best *v1alpha1.JobRun
	for _, run := range s.Runs { // They are sorted by age.
		if s.precedence(run) > 0 && (best == nil || s.precedence(run) < s.precedence(best)) {
			best = run
		}
	}
	return best
}

// precedence orders the runs that may get the waiting place; 0 is none.
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

// clearStalePending takes Pending back from a run that the key does not name: it
// waits without a phase until the key is free (P7).
func clearStalePending(s *Snapshot) []Op {
	if s.pending == (runkey.Identity{}) {
		return nil
	}
	for _, run := range s.Runs {
		if s.role(run) == RoleStalePending {
			return join(s.checkKey(), []Op{WriteStatus{run, unseatedStatus(run, s.pending.RunName)}})
		}
	}
	return nil
}

// announcePending says on the waiting run that it waits, once the run before it
// says that it executes or has ended. A run that can start at once skips it.
func announcePending(s *Snapshot) []Op {
	run := s.Run(s.pending)
	if run == nil || !s.isAccepting(run) || !s.isPredecessorStored() {
		return nil
	}
	switch role := s.role(run); {
	case role == RoleRequeued, role == RoleWaiting && run.Status.Phase == "":
		return join(s.checkKey(), []Op{WriteStatus{run, pendingStatus(run)}}, tellTriggered(run))
	default:
		return nil
	}
}

// isPredecessorStored reports whether the status of the leased run has caught up
// with the key, so that no client sees two runs pending.
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

// cancelWaiting ends cancelled JobRuns that the key does not name and that are bound
// to no run.
func cancelWaiting(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if !s.mustEnd(run) || !s.isAlone(run) {
			continue
		}
		status := endedStatus(run, s.cancellation(run))
		return join(stopRun(run), s.checkKey(), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	}
	return nil
}

// isAlone reports whether neither the key nor another run has to do with the end of
// a JobRun that does not execute.
func (s *Snapshot) isAlone(run *v1alpha1.JobRun) bool {
	switch s.role(run) {
	case RoleStalePending, RoleUnplaced, RoleUnanswered, RoleOrphaned, RoleKeptBack, RoleUnadmitted:
		return true
	case RoleWaiting:
		return !s.Keyed
	case RoleUndecided:
		return s.isWithdrawn(run)
	default:
		return false
	}
}

// cancellation ends a run that does not execute.
func (s *Snapshot) cancellation(run *v1alpha1.JobRun) ending {
	end := ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
		generation: run.LeaseGeneration(), now: s.Now,
	}
	if s.isWithdrawn(run) && !run.EndRequested() {
		end.reason, end.message = ReasonBatchWithdrawn, withdrawnMessage(run.Spec.Batch)
	}
	return end
}
