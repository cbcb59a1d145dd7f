// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Role is the state of a JobRun relative to its home. Each JobRun of a snapshot has exactly one role. Runs and
// Relisted may hold different versions of a JobRun. Each version then has its own role.
//
// The RunKey decides first, then the phase. Labels and spec.admission alone never decide whether a JobRun is
// a run (P12), because a promoted receipt keeps both. spec.admission counts only for a JobRun that has no
// phase, has no place in the key and never was a run.
//
// In the comments below, a cancelled JobRun is one that must end: see mustEnd.
type Role int

// Roles of runs. If the key and the status of a run contradict each other, the key is right.
const (
	// RoleEnded is a run that has ended: its phase is Completed, Failed or Cancelled. follow-lease releases
	// its lease. release-pending frees its waiting place.
	RoleEnded Role = iota + 1
	// RoleExecuting is a run that executes. Its phase is Leased, and the key leases it, or it has no key.
	// follow-lease follows its Job or worker until it ends or its lease expires.
	RoleExecuting
	// RoleClaimed is a run whose claim is not stored in its status yet. The key leases it, but its phase is
	// not Leased. follow-lease stores the claim of a run with a Job, and takes back the claim of a worker.
	RoleClaimed
	// RoleRequeued is a run whose lease expired and whose status is behind the key. Its phase is Leased,
	// while the key has it waiting with the same generation. announce-pending writes Pending. If the run
	// displaced another run, finish-displacement counts that one first. release-pending ends it if it is
	// cancelled.
	RoleRequeued
	// RoleUnrecorded is a run whose lease is missing in the key. Its phase is Leased, but the key leases no
	// run: the RunKey was deleted, or the claim bypassed it. restore-lease writes the lease into the key.
	RoleUnrecorded
	// RoleSuperseded is a run that lost its lease to another run. Its phase is Leased, but the key leases the
	// other run. drop-superseded-lease ends its Job and takes its lease.
	RoleSuperseded
	// RoleWaiting is a run that may start next. It is not leased, and it has the waiting place or has no key.
	// claim starts a run with a template. A worker claims a run without one. announce-pending writes Pending.
	// If the run is cancelled, release-pending ends it, or cancel-waiting if it has no key.
	RoleWaiting
	// RoleStalePending is a run that reads Pending without a place. Its phase is Pending, but the key does
	// not name it. restore-pending gives it the waiting place if that is free. If another run has the place,
	// finish-displacement makes it a receipt, or clear-stale-pending clears its phase. cancel-waiting ends it
	// if it is cancelled.
	RoleStalePending
	// RoleUnplaced is a run that has no place in the key yet. It has no phase, and the key does not name it.
	// fill-pending or release-pending gives it the place. cancel-waiting ends it if it is cancelled.
	RoleUnplaced
	// RoleUnanswered is a trigger that the webhook did not answer. It has no spec.admission, no phase and no
	// place. It has no idempotencyKey, or owns its idempotency key. If a run waits, answer-bypassed absorbs
	// or fails it. fill-pending or release-pending gives it the waiting place. cancel-waiting ends it if it
	// is cancelled.
	RoleUnanswered
)

// Roles of receipts. Another run stands for the trigger, or this is not decided yet. If another controller
// binds a receipt while this one promotes or claims it, the key names a bound receipt. follow-lease and
// release-pending then free the place.
const (
	// RoleDisplaced is a run A that lost its place to a run B whose lease expired. B has counted A: see
	// isDisplaced. bind-counted makes A a receipt of B.
	RoleDisplaced Role = RoleUnanswered + 1 + iota
	// RoleAbsorbed is an unbound receipt that a run stands for: see runOfAbsorbed. It was answered Coalesced.
	// count-receipts counts it on that run and binds it. bind-counted binds it if it is counted already.
	RoleAbsorbed
	// RoleRedelivered is an unbound receipt that a run stands for: see runOfRedelivered. It was answered
	// Idempotent. bind-idempotent binds it to that run.
	RoleRedelivered
	// RoleOrphaned is an unbound receipt that no run will stand for: see isAbandoned. It was answered
	// Coalesced. fill-pending or release-pending promotes it. cancel-waiting ends it if it is cancelled.
	RoleOrphaned
	// RoleKeptBack is an unbound receipt that no run stands for. It must not be promoted, because only the
	// owner of its idempotency key may become a run. Another delivery owns the key, or the key needs a new
	// owner. If a run owns the key, bind-idempotent binds the receipt to that run. If the receipt becomes the
	// owner, it becomes a run. cancel-waiting ends it if it is cancelled.
	RoleKeptBack
	// RoleRecalled is an unbound receipt whose run is gone, while its idempotency key remembers how that run ended.
	// bind-idempotent gives it that outcome. cancel-waiting ends it if it is cancelled.
	RoleRecalled
	// RoleUndecided is an unbound receipt whose run is not known yet. The JobRun that it was answered with
	// may not exist yet, or a batch is undecided: its own, or that of the run. Only cancel-waiting treats it,
	// and only if its own batch was withdrawn.
	RoleUndecided
	// RoleUnadmitted is a trigger that the webhook did not answer, and that may be a receipt. It has no
	// spec.admission. A run has counted it, or another delivery may own its idempotency key. answer-bypassed
	// binds it. bind-counted binds it before the run that counted it can end. cancel-waiting ends it if it is
	// cancelled.
	RoleUnadmitted
	// RoleBound is a receipt that is bound to a run and has no outcome. copy-outcome gives it the run's
	// outcome.
	RoleBound
	// RoleMisbound is a receipt that is bound to a JobRun that has become a receipt itself. The steps bind it
	// to the run that stands for both: count-receipts or bind-counted if its phase is Coalesced,
	// bind-idempotent if it is Idempotent. copy-outcome ends it if it is cancelled, or if that run was
	// deleted.
	RoleMisbound
	// RoleSettled is a bound receipt that has its outcome. No step changes it.
	RoleSettled
)

// classify returns the role of a JobRun.
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

// classifyLease returns the role of a run that reads Leased.
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

// followsAnother reports whether a JobRun has the role of a receipt.
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
	case s.Owners[run.UID] == runkey.IdentityOf(run):
		return false
	default:
		// If the webhook did not look at the idempotencyKey, an earlier delivery may own the key.
		return run.WasAbsorbed() || (run.BypassedWebhook() && run.Spec.IdempotencyKey != "")
	}
}

// classifyReceipt returns the role of a receipt.
func (s *Snapshot) classifyReceipt(receipt *v1alpha1.JobRun) Role {
	switch isBound := receipt.IsReceipt(); {
	case isBound && receipt.HasOutcome():
		return RoleSettled
	case isBound && s.isMisbound(receipt):
		return RoleMisbound
	case isBound:
		return RoleBound
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

func (s *Snapshot) classifyCoalesced(receipt *v1alpha1.JobRun) Role {
	switch {
	case s.runOfAbsorbed(receipt) != nil:
		return RoleAbsorbed
	case s.isAnswerPending(receipt):
		return RoleUndecided
	case s.idempotencyKeyDecides(receipt) && s.isRecalled(receipt):
		return RoleRecalled
	case s.idempotencyKeyDecides(receipt):
		return RoleKeptBack
	case !s.isAbandoned():
		return RoleUndecided
	default:
		return RoleOrphaned
	}
}

func (s *Snapshot) classifyIdempotent(receipt *v1alpha1.JobRun) Role {
	switch {
	case s.runOfRedelivered(receipt) != nil:
		return RoleRedelivered
	case s.isRecalled(receipt):
		return RoleRecalled
	case s.isNoRun(runkey.AnsweredWith(receipt)):
		return RoleKeptBack
	default:
		return RoleUndecided
	}
}

// isDisplaced reports whether a run A lost its waiting place to a run B whose lease expired. B has counted A,
// and has a place in the key. B counted A while B waited, so B starts after A was triggered (P2).
func (s *Snapshot) isDisplaced(run *v1alpha1.JobRun) bool {
	by := s.countedBy[run.UID]
	if by == nil || by.UID == run.UID || s.leased == runkey.IdentityOf(run) {
		return false
	}
	hasItsPlace := displaces(by, run) && s.isOpen(by) && s.hasPlace(by)
	return hasItsPlace && run.RefersToItself() // A run that was never Pending cannot be displaced.
}
