// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// displaces reports whether a run whose lease expired takes the place of the run that waits.
func displaces(run, waiting *v1alpha1.JobRun) bool {
	return run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue && runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay
}

// displace puts a fenced run in the place of the waiting run. The waiting run becomes its receipt before the
// fenced run reads Pending, so that no client sees two runs Pending.
func (s *Snapshot) displace(run, waiting *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	next, ok := runkey.Displace(s.KeySpec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	next = runkey.LineUp(next, s.firstBehind(run, waiting), s.Now)
	pending := *fenced.DeepCopy()
	ops := join([]Op{CheckRun{waiting}, s.giveUpLease(next, run)}, tellExpired(run, fenced))
	switch {
	case s.becomesReceipt(run, waiting):
		fencedRun := run.DeepCopy()
		fencedRun.Status = fenced
		var absorb []Op
		pending, absorb = s.absorb(fencedRun, []*v1alpha1.JobRun{waiting})
		ops = append(ops, absorb...)
	case waiting.Status.Phase == v1alpha1.PhasePending:
		ops = append(ops, WriteStatus{waiting, inLineStatus(waiting)})
	}
	pending.Phase = v1alpha1.PhasePending
	return append(ops, WriteStatus{run, pending})
}

// becomesReceipt reports whether the waiting run becomes a receipt of the run that takes its place. Otherwise it waits in line.
func (s *Snapshot) becomesReceipt(run, waiting *v1alpha1.JobRun) bool {
	return waiting.Status.Phase == v1alpha1.PhasePending && s.room(run) > 0
}

// firstBehind returns the first run in line once run has taken the place of the waiting run.
func (s *Snapshot) firstBehind(run, waiting *v1alpha1.JobRun) *v1alpha1.JobRun {
	first := s.firstInLine(run)
	if s.becomesReceipt(run, waiting) || (first != nil && v1alpha1.CompareStored(first, waiting) < 0) {
		return first
	}
	return waiting
}

// finishDisplacement finishes a displacement that stopped after the key was written: it counts the displaced
// run, which still reads Pending, on the run that took its place.
func finishDisplacement(s *Snapshot) []Op {
	run := s.Run(s.pending)
	if run == nil || s.role(run) != RoleRequeued || !s.isAccepting(run) || s.room(run) <= 0 {
		return nil
	}
	for _, waiting := range s.Runs {
		if s.role(waiting) != RoleStalePending || !s.isAccepting(waiting) || !displaces(run, waiting) || hasCounted(run, waiting.UID) {
			continue
		}
		_, ops := s.absorb(run, []*v1alpha1.JobRun{waiting})
		return join(s.checkKey(), []Op{CheckRun{waiting}}, ops)
	}
	return nil
}
