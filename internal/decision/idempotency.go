// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// DecideIdempotencyKey decides who owns an idempotency key. The owner keeps the key while it exists and is a
// run. After that, nextOwner gets it. The Runs of the snapshot are all JobRuns that were triggered with it.
func DecideIdempotencyKey(s *Snapshot) Plan {
	if s.Key != nil && s.isOwned() {
		return Plan{After: s.LookAgain()}
	}
	next := s.nextOwner()
	switch {
	case next == nil && s.Key == nil:
		return Plan{After: s.LookAgain()}
	case next == nil:
		return Plan{Step: "free-idempotency", Ops: []Op{SwapKey{}}, After: s.LookAgain()}
	}
	key := runkey.OwnedBy(next.Spec.JobName, s.idempotencyKey(), runkey.IdentityOf(next))
	return Plan{Step: "own-idempotency", Ops: []Op{CheckRun{next}, SwapKey{Next: key}}, After: s.LookAgain()}
}

// isOwned reports whether the owner of an idempotency key keeps it. An owner that does not exist may be a first delivery
// whose create is late, which would execute again. But a receipt that the owner has absorbed may have brought the key. Then
// the key passes on once the owner is gone, and a late owner is another trigger.
func (s *Snapshot) isOwned() bool {
	id := runkey.Owner(s.KeySpec())
	if owner := s.Run(id); owner != nil {
		return !owner.IsReceipt() && !s.isWithdrawn(owner)
	}
	return !s.ReservationLapsed && !(s.Gone[id] && s.wasBroughtToAnother(id))
}

// wasBroughtToAnother reports whether a receipt brought an idempotency key to its owner. The webhook answers Coalesced only if
// the receipt is the first delivery.
func (s *Snapshot) wasBroughtToAnother(owner runkey.Identity) bool {
	return slices.ContainsFunc(s.Runs, func(run *v1alpha1.JobRun) bool {
		a := run.Spec.Admission
		return a != nil && a.Disposition == v1alpha1.DispositionCoalesced && runkey.AnsweredWith(run) == owner
	})
}

// idempotencyKey returns the value of the key, from the row or from a JobRun that has it.
func (s *Snapshot) idempotencyKey() string {
	if s.Key != nil {
		return s.Key.Spec.Key
	}
	return s.Runs[0].Spec.IdempotencyKey
}

// nextOwner returns the next owner of an idempotency key; nil if there is none. It is the oldest run that was
// triggered with the key, or that a receipt with the key is bound to. If there is no such run, it is the
// oldest receipt that no run stands for.
func (s *Snapshot) nextOwner() *v1alpha1.JobRun {
	for _, run := range s.Runs {
		if run.IsReceipt() {
			if bound := s.boundRun(run); bound != nil && !s.isWithdrawn(bound) {
				return bound
			}
			continue
		}
		if !s.isWithdrawn(run) && !isDiscarded(run) && (run.Status.Phase != "" || !run.WasAbsorbed()) {
			return run
		}
	}
	for _, run := range s.Runs {
		if run.Status.Phase == "" && !s.mustEnd(run) && s.isNoRun(runkey.AnsweredWith(run)) {
			return run
		}
	}
	return nil
}

// isDiscarded reports whether a receipt was cancelled before it executed or stood for others. As the owner of
// an idempotency key, it would pass its end on to later deliveries.
func isDiscarded(run *v1alpha1.JobRun) bool {
	return run.WasAbsorbed() && run.Status.Phase == v1alpha1.PhaseCancelled &&
		run.Status.Lease == nil && run.Status.Coalesced == nil
}
