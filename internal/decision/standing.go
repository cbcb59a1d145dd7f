// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

// Which run stands for a receipt:
//   - runOfAbsorbed: the run that one which was answered Coalesced may be counted on
//   - runOfRedelivered: the run that owns the idempotency key of one that was
//     answered Idempotent
//   - boundRun: the run that a bound receipt names, at the end of the chain
//
// runToCountOn (absorb.go) and runToBindTo (receipts.go) choose by the role.

import (
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// runOfAbsorbed is the run that a receipt which was answered Coalesced may be counted
// on and bound to; nil if there is none, or if it is not known yet.
func (s *Snapshot) runOfAbsorbed(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if run := s.countedBy[receipt.UID]; run != nil && s.startsAfter(run, receipt) {
		return run
	}
	answered := runkey.AnsweredWith(receipt)
	run := s.Run(answered)
	if run != nil && run.IsReceipt() && s.boundRun(run) != nil {
		run = s.boundRun(run)
	}
	if run != nil && s.startsAfter(run, receipt) {
		return run
	}
	if run == nil && !s.Gone[answered] {
		return nil
	}
	// The run it was answered with cannot stand for it. The run that waits now starts
	// after the trigger, too.
	pending := s.Run(s.pending)
	if pending != nil && pending.UID != receipt.UID && s.isAccepting(pending) {
		return pending
	}
	return nil
}

// startsAfter reports whether a run started, or will start, after a trigger was
// accepted (P2): it still waits, or its claim was based on the version of the key that
// the trigger saw, or a later one.
func (s *Snapshot) startsAfter(run, receipt *v1alpha1.JobRun) bool {
	if run.UID == receipt.UID || run.IsReceipt() || !s.hasStarted(run) {
		return false
	}
	id := runkey.IdentityOf(run)
	waits := s.pending == id || (run.Status.Phase == "" && !run.WasAbsorbed())
	if s.isOpen(run) && waits && s.leased != id {
		return true
	}
	return s.hasEvidence(run, receipt)
}

// hasEvidence reports whether a run's claim proves that it started after a trigger
// was accepted.
func (s *Snapshot) hasEvidence(run, receipt *v1alpha1.JobRun) bool {
	version := ""
	if run.Status.Lease != nil {
		version = run.Status.Lease.KeyVersion
	}
	if s.leased == runkey.IdentityOf(run) {
		version = s.claimedVersion()
	}
	return runkey.StartedAfter(version, receipt.Spec.Admission.KeyVersion)
}

// isAbandoned reports whether no run can stand for a receipt any more, if none does
// now: the run it was answered with is gone or cannot, and no other run waits.
func (s *Snapshot) isAbandoned(receipt *v1alpha1.JobRun) bool {
	answered := runkey.AnsweredWith(receipt)
	if s.Run(answered) == nil && !s.Gone[answered] {
		return false
	}
	// A run that has the waiting place either stands for the receipt, or is about to
	// lose the place.
	return s.pending == runkey.Identity{} || s.isPlaceFalling()
}

// isPlaceFalling reports whether the run that has the waiting place is about to lose it.
func (s *Snapshot) isPlaceFalling() bool {
	run := s.Run(s.pending)
	return (run == nil && s.ReservationLapsed) || (run != nil && !s.isOpen(run))
}

// idempotencyKeyDecides reports whether the idempotency key of a receipt decides
// what becomes of it: another delivery owns the key, or the key has yet to pass on.
func (s *Snapshot) idempotencyKeyDecides(receipt *v1alpha1.JobRun) bool {
	owner, owned := s.Owners[receipt.UID]
	return owned && (owner != runkey.AnsweredWith(receipt) || s.isNoRun(owner))
}

// runOfRedelivered is the run that stands for a receipt by its idempotency key: the one
// it was answered with, unless it was absorbed, or the one that owns the key since;
// nil if there is none, or if it is not known yet.
func (s *Snapshot) runOfRedelivered(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	owner, answered := s.Owners[receipt.UID], runkey.AnsweredWith(receipt)
	candidates := []runkey.Identity{owner}
	switch {
	case receipt.Spec.Admission.Disposition == v1alpha1.DispositionIdempotent:
		candidates = []runkey.Identity{answered, owner}
	case owner == answered:
		return nil
	}
	for _, id := range candidates {
		run := s.Run(id)
		switch {
		case run == nil && !s.Gone[id]:
			return nil
		case run == nil || s.followsAnother(run) || s.isWithdrawn(run) || run.UID == receipt.UID:
			continue
		case s.hasStarted(run):
			return run
		default:
			return nil // No receipt is bound to a member that may be withdrawn.
		}
	}
	return nil
}

// boundRun is the run that stands for a bound receipt; nil if the snapshot does not
// hold it.
func (s *Snapshot) boundRun(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if ref := s.lastBound(receipt).Status.RunRef; ref != nil {
		return s.byUID[ref.UID]
	}
	return nil // The phase was written without the reference.
}

// lastBound is the receipt itself, or, where the run that it names has become a
// receipt since, the one that names a run.
func (s *Snapshot) lastBound(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	seen := map[types.UID]bool{} // Statuses that were written by hand may make a circle.
	for !seen[receipt.UID] {
		seen[receipt.UID] = true
		ref := receipt.Status.RunRef
		if ref == nil || s.byUID[ref.UID] == nil || !s.byUID[ref.UID].IsReceipt() {
			break
		}
		receipt = s.byUID[ref.UID]
	}
	return receipt
}

// isNoRun reports whether an identity is known not to be a run: there is no such
// JobRun, or it is a receipt itself, or withdrawn.
func (s *Snapshot) isNoRun(id runkey.Identity) bool {
	run := s.Run(id)
	return s.Gone[id] || (run != nil && (run.IsReceipt() || s.isWithdrawn(run)))
}
