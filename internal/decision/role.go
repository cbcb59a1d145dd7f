// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Role is what a JobRun is to its home. Each state of a JobRun in a snapshot has
// exactly one: a later read of a receipt may have another than the earlier one.
// Labels and spec.admission never decide alone whether it is a run (P12), for a
// receipt that was promoted keeps both. The admission counts only while the JobRun
// has no phase and no place, and never was a run.
type Role int

// Runs. The key leads: a status that says otherwise is behind, or stale.
const (
	// RoleEnded is a run at its end: its phase is final. If the key still leases
	// it, follow-lease releases it; if it has the waiting place, release-pending.
	RoleEnded Role = iota + 1
	// RoleExecuting reads Leased, and the key leases it; or it has no key.
	// follow-lease looks at its Job, its end and its expiry.
	RoleExecuting
	// RoleClaimed is leased by the key, but does not read Leased yet. follow-lease
	// stores the claim, or takes it back.
	RoleClaimed
	// RoleRequeued reads Leased, while the key has it waiting with the same
	// generation: its lease expired, and its status is behind. announce-pending makes
	// it read Pending, once finish-displacement has counted on it the run whose place
	// it took. release-pending ends it if it is cancelled.
	RoleRequeued
	// RoleUnrecorded reads Leased, while the key leases no run: the RunKey was
	// deleted, or missed the claim. restore-lease writes the key.
	RoleUnrecorded
	// RoleSuperseded reads Leased, while the key leases another run.
	// drop-superseded-lease takes its lease.
	RoleSuperseded
	// RoleWaiting has the waiting place and is not leased; or it has no key. claim
	// starts it if a Job executes it; a worker's claim comes through the webhook.
	// announce-pending tells it that it waits. release-pending, or
	// cancel-waiting without a key, ends it if it is cancelled.
	RoleWaiting
	// RoleStalePending reads Pending, but the key does not name it. restore-pending
	// gives it a free place. If another run has the place, clear-stale-pending takes
	// its phase, or finish-displacement makes it a receipt. cancel-waiting ends it if
	// it is cancelled.
	RoleStalePending
	// RoleUnplaced is a run without phase and without place. It waits for the
	// waiting place, which fill-pending and release-pending give it. cancel-waiting
	// ends it if it is cancelled.
	RoleUnplaced
	// RoleUnanswered was stored without the webhook, and its idempotency key, if it
	// has one, is its own. answer-bypassed answers it, or fill-pending seats it.
	RoleUnanswered
)

// Receipts: another run stands for the trigger, or is to. Their roles follow
// those of runs.
const (
	// RoleDisplaced lost its place to a run whose lease expired, which has counted
	// it. bind-counted makes it that run's receipt.
	RoleDisplaced Role = RoleUnanswered + 1 + iota
	// RoleAbsorbed was answered Coalesced, is not bound, and a run stands for it.
	// count-receipts counts it on that run, bind-counted binds it.
	RoleAbsorbed
	// RoleRedelivered was answered Idempotent, is not bound, and a run stands for
	// it. bind-idempotent binds it.
	RoleRedelivered
	// RoleOrphaned was answered Coalesced, and no run stands for it, nor will one.
	// fill-pending or release-pending promotes it; cancel-waiting ends it if it is
	// cancelled.
	RoleOrphaned
	// RoleKeptBack was answered Coalesced or Idempotent, and no run stands for it, but
	// its idempotency key decides: another delivery owns the key, or the key has yet to
	// pass on. bind-idempotent binds it to an owner that is a run; one that comes to own
	// the key itself is a run. cancel-waiting ends it if it is cancelled.
	RoleKeptBack
	// RoleUndecided is not bound, and whether a run stands for it is not known yet:
	// that run may yet come, or the batch of the trigger is undecided. No step treats
	// it, but cancel-waiting, if its batch was withdrawn.
	RoleUndecided
	// RoleUnadmitted was stored without the webhook, and a run has counted it, or
	// another delivery may own its idempotency key. answer-bypassed binds it, or
	// bind-counted before the run that counted it ends; cancel-waiting ends it if it is
	// cancelled.
	RoleUnadmitted
	// RoleBound is bound to a run and has no outcome. copy-outcome gives it the
	// outcome of that run.
	RoleBound
	// RoleMisbound is bound to a run that has become a receipt itself. It is counted
	// and bound anew, as RoleAbsorbed or RoleRedelivered.
	RoleMisbound
	// RoleSettled is bound and has its outcome. It is only kept.
	RoleSettled
)

// classify is the role of a JobRun.
func (s *Snapshot) classify(run *v1alpha1.JobRun) Role {
	if s.followsAnother(run) {
		return s.classifyReceipt(run)
	}
	id := runkey.IdentityOf(run)
	switch {
	case run.HasEnded():
		return RoleEnded
	case run.Status.Phase == v1alpha1.PhaseLeased:
		return s.classifyLease(run, id)
	case s.Keyed && s.leased == id:
		return RoleClaimed
	case !s.Keyed || s.pending == id:
		return RoleWaiting
	case run.Status.Phase == v1alpha1.PhasePending:
		return RoleStalePending
	case run.BypassedWebhook() && !run.WasRun():
		return RoleUnanswered
	default:
		return RoleUnplaced
	}
}

// classifyLease is the role of a run that reads Leased.
func (s *Snapshot) classifyLease(run *v1alpha1.JobRun, id runkey.Identity) Role {
	switch {
	case !s.Keyed || s.leased == id:
		return RoleExecuting
	case s.pending == id && s.Key.Spec.Pending.Generation == run.LeaseGeneration():
		return RoleRequeued
	case s.leased == runkey.Identity{}:
		return RoleUnrecorded
	default:
		return RoleSuperseded
	}
}

// followsAnother reports whether another run stands for a JobRun, or is to.
func (s *Snapshot) followsAnother(run *v1alpha1.JobRun) bool {
	switch {
	case run.IsReceipt():
		return true
	case run.Status.Phase == v1alpha1.PhasePending:
		return s.isDisplaced(run)
	case run.Status.Phase != "":
		return false
	case s.isDisplaced(run):
		return true
	case s.hasPlace(run) || run.WasRun():
		return false
	case s.countedBy[run.UID] != nil:
		return true // The run that counted it stands for it.
	default:
		return s.Owners[run.UID] != runkey.IdentityOf(run) && (run.WasAbsorbed() || mayBeDelivered(run))
	}
}

// mayBeDelivered reports whether a JobRun was stored without the webhook and has an
// idempotencyKey: it must be known which delivery owns the key before it executes.
func mayBeDelivered(run *v1alpha1.JobRun) bool {
	return run.BypassedWebhook() && run.Spec.IdempotencyKey != ""
}

// classifyReceipt is the role of a receipt.
func (s *Snapshot) classifyReceipt(receipt *v1alpha1.JobRun) Role {
	switch {
	case receipt.IsReceipt():
		return s.classifyBound(receipt)
	case s.isDisplaced(receipt):
		return RoleDisplaced
	case receipt.BypassedWebhook():
		return RoleUnadmitted
	case !s.hasStarted(receipt):
		return RoleUndecided
	}
	switch receipt.Spec.Admission.Disposition {
	case v1alpha1.DispositionCoalesced:
		return s.classifyCoalesced(receipt)
	case v1alpha1.DispositionIdempotent:
		return s.classifyIdempotent(receipt)
	default:
		return RoleUndecided
	}
}

func (s *Snapshot) classifyBound(receipt *v1alpha1.JobRun) Role {
	switch ref := receipt.Status.RunRef; {
	case receipt.HasOutcome():
		return RoleSettled
	case ref != nil && s.byUID[ref.UID] != nil && s.byUID[ref.UID].IsReceipt():
		return RoleMisbound
	default:
		return RoleBound
	}
}

func (s *Snapshot) classifyCoalesced(receipt *v1alpha1.JobRun) Role {
	switch {
	case s.runOfAbsorbed(receipt) != nil:
		return RoleAbsorbed
	case !s.isAbandoned(receipt):
		return RoleUndecided
	case s.idempotencyKeyDecides(receipt):
		return RoleKeptBack
	default:
		return RoleOrphaned
	}
}

func (s *Snapshot) classifyIdempotent(receipt *v1alpha1.JobRun) Role {
	switch {
	case s.runOfRedelivered(receipt) != nil:
		return RoleRedelivered
	case s.isNoRun(runkey.AnsweredWith(receipt)):
		return RoleKeptBack
	default:
		return RoleUndecided
	}
}

// isDisplaced reports whether a run that reads Pending, or has no phase, lost its
// place to the run that has counted it. That run counted it while it waited itself,
// and so before it started again.
func (s *Snapshot) isDisplaced(run *v1alpha1.JobRun) bool {
	by := s.countedBy[run.UID]
	if by == nil || by.UID == run.UID || s.leased == runkey.IdentityOf(run) {
		return false
	}
	hasItsPlace := displaces(by, run) && s.isOpen(by) && s.hasPlace(by)
	return hasItsPlace && run.RefersToItself() // Only a run that was told that it waits.
}
