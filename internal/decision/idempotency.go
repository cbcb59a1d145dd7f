// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// DecideIdempotencyKey decides who owns an idempotency key, and until when. The owner keeps the key while it exists and is a
// run. When the owner has ended, the terms of the key decide. After that, nextOwner gets the key. The Runs of the snapshot
// are all JobRuns that were triggered with it.
func DecideIdempotencyKey(s *Snapshot) Plan {
	step, ops, after := s.decideIdempotencyKey()
	return Plan{Step: step, Ops: ops, After: Sooner(after, s.LookAgain())}
}

func (s *Snapshot) decideIdempotencyKey() (step string, ops []Op, after time.Duration) {
	key := s.KeySpec()
	switch end, promoted, outcome := s.endOfOwner(), s.promotedBringer(), runkey.Remembered(key); {
	case key == nil:
		return s.passOn()
	case promoted != nil:
		return s.giveTo(promoted, promoted)
	case outcome != nil:
		return s.decideRemembered(outcome)
	case end != nil && runkey.TermsIn(key).ReleasesAfter(end.Phase):
		return s.passOn()
	case end != nil && runkey.AwaitsOutcome(key):
		return "remember-outcome", s.swapKey(runkey.Remember(key, end, s.Now)), 0
	case s.isOwned():
		return "", nil, 0
	default:
		return s.passOn()
	}
}

// decideRemembered forgets a key when its TTL is over. If that is after the next sweep, a later sweep finds the key in time.
func (s *Snapshot) decideRemembered(outcome *v1alpha1.RememberedOutcome) (step string, ops []Op, after time.Duration) {
	switch left := outcome.ForgetTime.Sub(s.Now.Time); {
	case left > s.Sweep:
		return "", nil, 0
	case left > 0:
		return "", nil, left
	default:
		return s.passOn()
	}
}

// passOn gives an idempotency key to its next owner, or frees it.
func (s *Snapshot) passOn() (step string, ops []Op, after time.Duration) {
	switch next, delivery := s.nextOwner(); {
	case next == nil && s.Key == nil:
		return "", nil, 0
	case next == nil:
		return "free-idempotency", []Op{SwapKey{}}, 0
	default:
		return s.giveTo(next, delivery)
	}
}

// giveTo gives an idempotency key to a run, on the terms of the delivery that brings it.
func (s *Snapshot) giveTo(run, delivery *v1alpha1.JobRun) (step string, ops []Op, after time.Duration) {
	key := runkey.OwnedBy(run.Spec.JobName, s.idempotencyKey(), runkey.IdentityOf(run), s.termsOf(delivery))
	return "own-idempotency", []Op{CheckRun{run}, SwapKey{Next: key}}, 0
}

// termsOf returns the terms of a delivery, as far as all replicas know them.
func (s *Snapshot) termsOf(delivery *v1alpha1.JobRun) runkey.Terms {
	if !s.Memory {
		return runkey.Terms{}
	}
	return runkey.TermsOf(delivery)
}

// endOfOwner returns how the owner of an idempotency key ended; nil if it has not ended, or if that is not known. It is nil,
// too, while the trigger that brought the key to the owner may still be promoted. A member of a batch that was withdrawn
// leaves its key to another delivery.
func (s *Snapshot) endOfOwner() *v1alpha1.RememberedOutcome {
	id := runkey.Owner(s.KeySpec())
	owner := s.Run(id)
	switch {
	case slices.ContainsFunc(s.Runs, func(run *v1alpha1.JobRun) bool { return run.Status.Phase == "" && broughtTo(run, id) }):
		return nil
	case owner == nil:
		return s.EndOfOwner
	case s.isWithdrawn(owner) || !isComplete(owner):
		return nil // DecideReport first completes the status.
	default:
		return runkey.OutcomeOf(owner)
	}
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

// wasBroughtToAnother reports whether a receipt brought an idempotency key to its owner.
func (s *Snapshot) wasBroughtToAnother(owner runkey.Identity) bool {
	return slices.ContainsFunc(s.Runs, func(run *v1alpha1.JobRun) bool { return broughtTo(run, owner) })
}

// broughtTo reports whether a trigger brought its idempotency key to the run that absorbed it. The webhook answers Coalesced
// only if the trigger is the first delivery.
func broughtTo(run *v1alpha1.JobRun, owner runkey.Identity) bool {
	a := run.Spec.Admission
	return a != nil && a.Disposition == v1alpha1.DispositionCoalesced && runkey.AnsweredWith(run) == owner
}

// promotedBringer returns the trigger that brought an idempotency key to its owner and has become a run since, because the owner
// did not start after it; nil if there is none. It takes its key over.
func (s *Snapshot) promotedBringer() *v1alpha1.JobRun {
	for _, run := range s.Runs {
		isRun := run.Status.Phase != "" && !run.IsReceipt() && !isDiscarded(run)
		if isRun && broughtTo(run, runkey.Owner(s.KeySpec())) && s.mayOwn(run, run) {
			return run
		}
	}
	return nil
}

// idempotencyKey returns the value of the key, from the row or from a JobRun that has it.
func (s *Snapshot) idempotencyKey() string {
	if s.Key != nil {
		return s.Key.Spec.Key
	}
	return s.Runs[0].Spec.IdempotencyKey
}

// nextOwner returns the next owner of an idempotency key, and the delivery that brings the key to it; nil if there is none.
// It is the oldest run that was triggered with the key, or that a receipt with the key is bound to. If there is no such run,
// it is the oldest receipt that no run stands for.
func (s *Snapshot) nextOwner() (owner, delivery *v1alpha1.JobRun) {
	for _, run := range s.Runs {
		if run.IsReceipt() {
			if bound := s.boundRun(run); bound != nil && s.mayOwn(bound, run) {
				return bound, bringer(bound, run)
			}
			continue
		}
		if s.mayOwn(run, run) && !isDiscarded(run) && (run.Status.Phase != "" || !run.WasAbsorbed()) {
			return run, run
		}
	}
	for _, run := range s.Runs {
		if run.Status.Phase == "" && !s.mustEnd(run) && s.isNoRun(runkey.AnsweredWith(run)) {
			return run, run
		}
	}
	return nil, nil
}

// bringer returns the delivery that brings the idempotency key of a receipt to the run that the receipt is bound to. A run that
// was itself triggered with the key brings it itself, so a second delivery cannot change its terms.
func bringer(bound, receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if bound.Spec.IdempotencyKey == receipt.Spec.IdempotencyKey {
		return bound
	}
	return receipt
}

// mayOwn reports whether a run may get an idempotency key from a delivery. A run that has ended gets none whose row is gone,
// because the key may have been released or forgotten. A run that was restored from a backup gets none. Otherwise the run gets it only from a delivery that can have brought
// it, and only on terms under which the key would still last.
func (s *Snapshot) mayOwn(run, delivery *v1alpha1.JobRun) bool {
	if run.WasRestored() {
		return false
	}
	if s.isWithdrawn(run) || !run.HasEnded() {
		return !s.isWithdrawn(run)
	}
	if s.Key == nil || runkey.Owner(s.KeySpec()) == runkey.IdentityOf(run) || delivery.Status.Phase == v1alpha1.PhaseIdempotent ||
		s.hasLost(run) {
		return false
	}
	terms, at := s.termsOf(delivery), run.Status.CompletionTime
	isOver := terms.TTLSeconds > 0 && at != nil && s.Now.Sub(at.Time) >= terms.TTL()
	return !isOver && !terms.ReleasesAfter(run.Status.Phase)
}

// hasLost reports whether a run that has ended lost its idempotency key to another run, because the key was released or
// forgotten. A run that displaced the owner has not, and a promoted trigger may take over the key that it brought.
func (s *Snapshot) hasLost(run *v1alpha1.JobRun) bool {
	owner := s.Run(runkey.Owner(s.KeySpec()))
	return owner != nil && !owner.IsReceipt() && !run.WasAbsorbed()
}

// isDiscarded reports whether a receipt was cancelled before it executed or stood for others. As the owner of
// an idempotency key, it would pass its end on to later deliveries.
func isDiscarded(run *v1alpha1.JobRun) bool {
	return run.WasAbsorbed() && run.Status.Phase == v1alpha1.PhaseCancelled &&
		run.Status.Lease == nil && run.Status.Coalesced == nil
}
