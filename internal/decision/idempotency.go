// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// DecideIdempotencyKey looks at the row of an idempotency key: it belongs to a
// run for as long as that run exists, and to its oldest heir after that. The Runs
// of the snapshot are all JobRuns that were triggered with the key.
func DecideIdempotencyKey(s *Snapshot) Plan {
	owner := s.Run(runkey.Owner(s.KeySpec()))
	isOwned := (owner == nil && !s.ReservationLapsed) || (owner != nil && !owner.IsReceipt() && !s.isWithdrawn(owner))
	if s.Key != nil && isOwned {
		return Plan{After: s.LookAgain()}
	}
	heir := s.heir()
	switch {
	case heir == (runkey.Identity{}) && s.Key == nil:
		return Plan{After: s.LookAgain()}
	case heir == (runkey.Identity{}):
		return Plan{Step: "free-idempotency", Ops: []Op{SwapKey{}}, After: s.LookAgain()}
	}
	run := s.Run(heir)
	next := runkey.OwnedBy(run.Spec.JobName, s.idempotencyKey(), heir)
	return Plan{Step: "own-idempotency", Ops: []Op{CheckRun{run}, SwapKey{Next: next}}, After: s.LookAgain()}
}

// idempotencyKey is the value of the key, from the row or from a JobRun that shares it.
func (s *Snapshot) idempotencyKey() string {
	if s.Key != nil {
		return s.Key.Spec.Key
	}
	return s.Runs[0].Spec.IdempotencyKey
}

// heir is the run that is to own an idempotency key without owner: the oldest run
// that was triggered with it, or that stands for a trigger with it, or else the
// oldest receipt that no run stands for.
func (s *Snapshot) heir() runkey.Identity {
	for _, run := range s.Runs {
		if run.IsReceipt() {
			if stand := s.boundRun(run); stand != nil && !s.isWithdrawn(stand) {
				return runkey.IdentityOf(stand)
			}
			continue
		}
		if !s.isWithdrawn(run) && !isDiscarded(run) && (run.Status.Phase != "" || !run.WasAbsorbed()) {
			return runkey.IdentityOf(run)
		}
	}
	for _, run := range s.Runs {
		if run.Status.Phase == "" && !s.mustEnd(run) && s.isNoRun(runkey.AnsweredWith(run)) {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// isDiscarded reports whether a receipt was cancelled before it executed or stood
// for others: a delivery that inherited from it would share its end.
func isDiscarded(run *v1alpha1.JobRun) bool {
	return run.WasAbsorbed() && run.Status.Phase == v1alpha1.PhaseCancelled &&
		run.Status.Lease == nil && run.Status.Coalesced == nil
}
