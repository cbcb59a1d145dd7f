// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxReceiptWrites is how many receipts one plan of bindIdempotent or copyOutcome may write.
const maxReceiptWrites = 64

// bindIdempotent binds triggers that were delivered before. These need no evidence (P10) and are not counted.
func bindIdempotent(s *Snapshot) []Op {
	var ops []Op
	for _, receipt := range s.Relisted {
		if len(ops) >= maxReceiptWrites {
			break
		}
		if s.cameLate(receipt) {
			continue
		}
		if run := s.runToBindTo(receipt); run != nil {
			ops = append(ops, WriteStatus{receipt, s.deliveredStatus(receipt, run)})
		} else if s.role(receipt) == RoleRecalled && !s.mustEnd(receipt) {
			ops = append(ops, s.recall(receipt))
		}
	}
	return ops
}

// cameLate reports whether a JobRun was not stored yet when the runs were read. By now they may have ended and be gone, so a late
// delivery is not bound to what was read (P9). Its event enqueues its home again.
func (s *Snapshot) cameLate(run *v1alpha1.JobRun) bool { return s.byUID[run.UID] == nil }

// deliveredStatus returns the status of a delivery that is bound to the run that stands for it. If that run has ended, the
// delivery gets the outcome in the same write, because the run may be deleted before another one (P9).
func (s *Snapshot) deliveredStatus(delivery, run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := boundStatus(delivery, run, v1alpha1.PhaseIdempotent, s.Now)
	if !isComplete(run) {
		return status
	}
	bound := delivery.DeepCopy()
	bound.Status = status
	return outcomeStatus(bound, run)
}

// runToBindTo returns the run to bind a receipt to without counting it; nil if there is none.
func (s *Snapshot) runToBindTo(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	switch role := s.role(receipt); {
	case role == RoleMisbound && receipt.Status.Phase == v1alpha1.PhaseIdempotent:
		return s.boundRun(receipt)
	case role == RoleRedelivered, role == RoleKeptBack:
		return s.runOfRedelivered(receipt)
	default:
		return nil
	}
}

// copyOutcome gives bound receipts the outcome of their run.
func copyOutcome(s *Snapshot) []Op {
	var ops []Op
	for _, receipt := range s.Relisted {
		if len(ops) >= maxReceiptWrites {
			break
		}
		if role := s.role(receipt); role != RoleBound && role != RoleMisbound {
			continue
		}
		if status, ok := s.outcomeOf(receipt); ok {
			ops = append(ops, WriteStatus{receipt, status})
		}
	}
	return ops
}

// outcomeOf returns the status that gives a bound receipt its outcome; ok is false if there is no outcome yet.
func (s *Snapshot) outcomeOf(receipt *v1alpha1.JobRun) (status v1alpha1.JobRunStatus, ok bool) {
	last := s.lastBound(receipt)
	run, ref := s.boundRun(last), last.Status.RunRef
	switch {
	case run != nil && run.HasEnded() && last == receipt:
		if !isComplete(run) {
			return v1alpha1.JobRunStatus{}, false // DecideReport first completes the run's status.
		}
		return outcomeStatus(receipt, run), true
	case run == nil && ref != nil && s.GoneUIDs[ref.UID]:
		return s.outcomeOfGone(receipt, ref)
	case receipt.EndRequested():
		return cancelledReceiptStatus(receipt, ReasonCancelled, "cancelled on request", s.Now), true
	default:
		return v1alpha1.JobRunStatus{}, false
	}
}

// outcomeOfGone is outcomeOf for a receipt whose run was deleted.
func (s *Snapshot) outcomeOfGone(receipt *v1alpha1.JobRun, run *v1alpha1.ObjectReference) (status v1alpha1.JobRunStatus, ok bool) {
	switch end, wait := s.recalledOutcome(receipt, run); {
	case end != nil:
		return recalledStatus(receipt, receipt.Status.Phase, end, run.Name), true
	case wait:
		return v1alpha1.JobRunStatus{}, false
	default:
		return cancelledReceiptStatus(receipt, ReasonRunDeleted, "run "+run.Name+" was deleted", s.Now), true
	}
}
