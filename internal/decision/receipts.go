// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxReceiptWrites bounds how many receipts one plan binds or gives their outcome.
const maxReceiptWrites = 64

// bindIdempotent binds triggers that were delivered before. They need no evidence,
// and are no triggers of their own to be counted.
func bindIdempotent(s *Snapshot) []Op {
	var ops []Op
	for _, receipt := range s.Relisted {
		if run := s.runToBindTo(receipt); run != nil && len(ops) < maxReceiptWrites {
			ops = append(ops, WriteStatus{receipt, boundStatus(receipt, run, v1alpha1.PhaseIdempotent, s.Now)})
		}
	}
	return ops
}

// runToBindTo is the run that a receipt is to be bound to without being counted; nil if
// there is none.
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

func (s *Snapshot) outcomeOf(receipt *v1alpha1.JobRun) (v1alpha1.JobRunStatus, bool) {
	last := s.lastBound(receipt)
	run, ref := s.boundRun(last), last.Status.RunRef
	switch {
	case run != nil && run.HasEnded() && last == receipt:
		if !isComplete(run) {
			return v1alpha1.JobRunStatus{}, false // Its receipts are looked at again once it is.
		}
		return outcomeStatus(receipt, run), true
	case run == nil && ref != nil && s.GoneUIDs[ref.UID]:
		return deletedStatus(receipt, ref.Name, s.Now), true
	case receipt.EndRequested():
		return cancelledReceiptStatus(receipt, s.Now), true
	default:
		return v1alpha1.JobRunStatus{}, false
	}
}
