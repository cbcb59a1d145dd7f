// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

// This file finds the run that stands for a receipt:
//   - runOfAbsorbed, for an unbound receipt that was answered Coalesced
//   - runOfRedelivered, for an unbound receipt that was answered Idempotent, or is kept back
//   - boundRun, for a bound receipt
//
// runToCountOn (absorb.go) and runToBindTo (receipts.go) choose between them by the role.

import (
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// runOfAbsorbed returns the run that a Coalesced receipt may be counted on and bound to; nil if there is
// none, or if it is not known yet. It takes the first of these that starts after the trigger:
//   - the run that has counted the receipt
//   - the run that the receipt was answered with, or the run that stands for that one
//   - the run that executes, or the run that waits now, unless the receipt's idempotency key decides (P10)
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
	if s.isAnswerPending(receipt) {
		return nil
	}
	if s.idempotencyKeyDecides(receipt) {
		return nil // Else this run and the owner of the key would both stand for one delivery.
	}
	if leased := s.Run(s.leased); s.isAccepting(leased) && s.startsAfter(leased, receipt) {
		return leased // Runs may follow each other so fast that the receipt never sees one waiting.
	}
	pending := s.Run(s.pending) // It starts after the trigger, because it waits now.
	if pending != nil && pending.UID != receipt.UID && s.isAccepting(pending) {
		return pending
	}
	return nil
}

// startsAfter reports whether a run started, or will start, after a trigger was accepted (P2). Either the run
// still waits, or its claim was based on the version of the key that the trigger saw, or on a later one.
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

// hasEvidence reports whether a run's claim proves that the run started after a trigger was accepted.
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

// isAnswerPending reports whether the JobRun that a receipt was answered with may still be created.
func (s *Snapshot) isAnswerPending(receipt *v1alpha1.JobRun) bool {
	answered := runkey.AnsweredWith(receipt)
	return s.Run(answered) == nil && !s.Gone[answered]
}

// isAbandoned reports whether no run will stand for a receipt, given that runOfAbsorbed found none and that the answer
// is not pending.
func (s *Snapshot) isAbandoned() bool {
	// The run in the waiting place will stand for the receipt, unless it loses the place. A JobRun that does
	// not exist yet, or whose batch is undecided, may keep it.
	run := s.Run(s.pending)
	losesPlace := (run == nil && s.ReservationLapsed) || (run != nil && !s.isOpen(run))
	return s.pending == runkey.Identity{} || losesPlace
}

// idempotencyKeyDecides reports whether the idempotency key of a receipt decides what becomes of the receipt.
// Either another delivery owns the key, or the owner is not a run, and the key will get another owner.
func (s *Snapshot) idempotencyKeyDecides(receipt *v1alpha1.JobRun) bool {
	owner, owned := s.Owners[receipt.UID]
	return owned && (owner != runkey.AnsweredWith(receipt) || s.isNoRun(owner))
}

// runOfRedelivered returns the run that stands for a receipt by its idempotency key; nil if there is none, or
// if it is not known yet. For an Idempotent receipt it is the run that the receipt was answered with, or the
// owner of the key. For a Coalesced receipt it is the owner, unless the receipt was answered with it.
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
			return nil // The batch of run may be withdrawn.
		}
	}
	return nil
}

// boundRun returns the run that stands for a bound receipt; nil if it is not in the snapshot.
func (s *Snapshot) boundRun(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if ref := s.lastBound(receipt).Status.RunRef; ref != nil {
		return s.byUID[ref.UID]
	}
	return nil // The phase was written without the reference.
}

// lastBound follows a bound receipt through JobRuns that have become receipts themselves. It returns the last
// receipt, which names a run.
func (s *Snapshot) lastBound(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	seen := map[types.UID]bool{} // Statuses that a person wrote may form a circle.
	for s.isMisbound(receipt) && !seen[receipt.UID] {
		seen[receipt.UID] = true
		receipt = s.byUID[receipt.Status.RunRef.UID]
	}
	return receipt
}

// isMisbound reports whether the run that a bound receipt names has become a receipt itself.
func (s *Snapshot) isMisbound(receipt *v1alpha1.JobRun) bool {
	ref := receipt.Status.RunRef
	return ref != nil && s.byUID[ref.UID] != nil && s.byUID[ref.UID].IsReceipt()
}

// isNoRun reports whether an identity is known to name no run: no such JobRun exists, it is a receipt, or its
// batch was withdrawn.
func (s *Snapshot) isNoRun(id runkey.Identity) bool {
	run := s.Run(id)
	return s.Gone[id] || (run != nil && (run.IsReceipt() || s.isWithdrawn(run)))
}
