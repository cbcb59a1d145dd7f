package controller

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// admitBypassed answers triggers that were stored without the webhook by the
// webhook's own rules: delivered before, absorbed, or refused. One that finds
// its key free is left to be elected.
func admitBypassed(s *Snapshot) []Op {
	for _, run := range s.Receipts {
		if !run.BypassedWebhook() || run.WasRun() || run.Status.Phase != "" || s.hasRole(run) || s.cancelled(run) || !s.started(run) {
			continue
		}
		if by := s.counted[run.UID]; by != nil {
			return concat(s.checkKey(), []Op{CheckRun{by}}, s.markOps(by, []*v1alpha1.JobRun{run}))
		}
		if s.isReceipt(run) {
			if first := s.find(s.Owners[run.UID]); first != nil && s.started(first) {
				return []Op{WriteStatus{run, boundStatus(run, first, v1alpha1.PhaseIdempotent, s.Now)}}
			}
			continue
		}
		if pending := s.find(s.pendingID()); s.Keyed && s.accepting(pending) && pending.UID != run.UID {
			return s.answerBypassed(run, pending)
		}
	}
	return nil
}

// answerBypassed is the answer of a key for which pending waits.
func (s *Snapshot) answerBypassed(run, pending *v1alpha1.JobRun) []Op {
	switch {
	case runkey.PolicyOf(run.Spec.Coalesce).Verdict == runkey.Refused:
		status := endedStatus(run, ending{
			phase: v1alpha1.PhaseFailed, reason: ReasonConflict, now: s.Now, generation: run.LeaseGeneration(),
			message: fmt.Sprintf("run %s is pending for job %q, concurrencyKey %q",
				pending.Name, run.Spec.JobName, run.Spec.ConcurrencyKey),
		})
		return concat(s.checkKey(), []Op{CheckRun{pending}, WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	case hasRecent(pending, run.UID):
		return concat(s.checkKey(), []Op{CheckRun{pending}}, s.markOps(pending, []*v1alpha1.JobRun{run}))
	case s.unmarkedEntries(pending) >= v1alpha1.MaxRecent:
		return nil
	default:
		receipts := []*v1alpha1.JobRun{run}
		return concat(
			s.checkKey(),
			[]Op{WriteStatus{pending, foldedStatus(pending, receipts, s.Marked)}, Emit{coalesced(pending, run)}},
			s.markOps(pending, receipts),
		)
	}
}

// decideIdempotencyKey looks at the row of an idempotency key: it belongs to a
// run for as long as that run exists, and to its oldest heir after that.
func decideIdempotencyKey(s *Snapshot) Plan {
	s.prepare()
	owner := runkey.Owner(s.spec())
	if run := s.find(owner); s.Key != nil && (run == nil && !s.Void || run != nil && !run.IsReceipt() && !s.withdrawn(run)) {
		return Plan{}
	}
	heir := s.heir()
	if heir == (runkey.Identity{}) {
		if s.Key == nil {
			return Plan{}
		}
		return Plan{Step: "free-idempotency", Ops: []Op{SwapKey{}}}
	}
	run := s.find(heir)
	next := runkey.OwnedBy(run.Spec.JobName, s.idempotencyKey(), heir)
	return Plan{Step: "own-idempotency", Ops: []Op{CheckRun{run}, SwapKey{Next: next}}}
}

// idempotencyKey is the value of the key, from the row or from whoever shares it.
func (s *Snapshot) idempotencyKey() string {
	if s.Key != nil {
		return s.Key.Spec.Key
	}
	return s.Runs[0].Spec.IdempotencyKey
}

// heir is who owns an idempotency key that nobody owns: the oldest run that was
// triggered with it, or that stands for a trigger with it, or else the oldest
// receipt that nobody stands for.
func (s *Snapshot) heir() runkey.Identity {
	for _, run := range s.Runs {
		if run.IsReceipt() {
			if stand := s.standIn(run); stand != nil && !s.withdrawn(stand) {
				return runkey.IdentityOf(stand)
			}
			continue
		}
		if !s.withdrawn(run) && !discarded(run) && (run.Status.Phase != "" || !run.WasAbsorbed()) {
			return runkey.IdentityOf(run)
		}
	}
	for _, run := range s.Runs {
		if run.Status.Phase == "" && !s.cancelled(run) && s.noRun(absorberOf(run)) {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// discarded reports whether a receipt was cancelled before it executed or stood
// for others: whoever inherited from it would share its end.
func discarded(run *v1alpha1.JobRun) bool {
	return run.WasAbsorbed() && run.Status.Phase == v1alpha1.PhaseCancelled &&
		run.Status.Lease == nil && run.Status.Coalesced == nil
}

// noRun reports whether an identity is known not to be a run: there is no such
// JobRun, or it is a receipt itself, or withdrawn.
func (s *Snapshot) noRun(id runkey.Identity) bool {
	run := s.find(id)
	return s.Gone[id] || (run != nil && (run.IsReceipt() || s.withdrawn(run)))
}
