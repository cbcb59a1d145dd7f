package controller

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// vacatePending takes the waiting place from a run that is gone, has ended or
// is cancelled, and gives it to whoever waits for it. The key goes first, for
// it races the claim.
func vacatePending(s *Snapshot) []Op {
	id := s.pendingID()
	if !s.Keyed || id == (runkey.Identity{}) {
		return nil
	}
	run := s.find(id)
	switch {
	case run == nil && s.Void:
		return s.handOver(id)
	case run == nil:
		return nil
	case run.HasOutcome() || run.IsReceipt():
		// A receipt may be bound by another controller while it is promoted.
		return s.handOver(id)
	case s.cancelled(run):
		status := endedStatus(run, s.cancellation(run))
		return concat(s.handOver(id), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	default:
		return nil
	}
}

// handOver gives the waiting place of id to its successor.
func (s *Snapshot) handOver(id runkey.Identity) []Op {
	next, ok := runkey.Withdraw(s.spec(), id)
	if !ok {
		return nil
	}
	successor := s.successor()
	if successor == nil {
		return s.swap(next)
	}
	return s.seat(successor)
}

// seat gives the waiting place to a run.
func (s *Snapshot) seat(run *v1alpha1.JobRun) []Op {
	ops := concat([]Op{CheckRun{run}}, s.swap(runkey.Seat(s.spec(), run, s.Now)))
	if run.WasAbsorbed() && run.Status.Phase == "" {
		ops = append(ops, Count{promoted})
	}
	return ops
}

// cancellation ends a run that does not execute.
func (s *Snapshot) cancellation(run *v1alpha1.JobRun) ending {
	end := ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
		generation: run.LeaseGeneration(), now: s.Now,
	}
	if s.withdrawn(run) && !run.EndRequested() {
		end.reason, end.message = ReasonBatchWithdrawn, withdrawnMessage(run.Spec.Batch)
	}
	return end
}

// unseat takes Pending back from a run that the key does not name: it waits
// without a phase until the key is free.
func unseat(s *Snapshot) []Op {
	if !s.Keyed || s.Key == nil {
		return nil
	}
	for _, run := range s.Runs {
		if run.Status.Phase != v1alpha1.PhasePending || s.hasRole(run) || s.pendingID() == (runkey.Identity{}) {
			continue
		}
		return concat(s.checkKey(), []Op{WriteStatus{run, unseatedStatus(run, s.pendingID().Name)}})
	}
	return nil
}

// claim starts the waiting run if the key leases nobody: the key first, then
// the Job, then the status, which names both. The run is read live before the
// claim and again before the Job; without a key the Job is the claim.
func claim(s *Snapshot) []Op {
	if s.leasedID() != (runkey.Identity{}) {
		return nil
	}
	run := s.find(s.pendingID())
	if run == nil || run.Spec.Template == nil || !s.mayStart(run) {
		return nil
	}
	e := s.execution(run)
	switch {
	case e.Refused != nil && e.Refused.Final:
		return finish(s, run, failure(ReasonInvalidJob, e.Refused.Message))
	case e.Refused != nil:
		return block(s, run, e.Refused.Message)
	case e.HoldOff > 0:
		return nil
	}
	return s.start(run)
}

// mayStart reports whether a waiting run can be claimed as it reads now.
func (s *Snapshot) mayStart(run *v1alpha1.JobRun) bool {
	return s.accepting(run) && (run.Status.Phase == "" || run.Status.Phase == v1alpha1.PhasePending)
}

func (s *Snapshot) start(run *v1alpha1.JobRun) []Op {
	if !s.Keyed {
		generation := run.LeaseGeneration() + 1
		return concat(
			noStraysOf(run),
			[]Op{CheckRun{run}, CreateJob{run, generation, ""}},
			[]Op{WriteStatus{run, leasedStatus(run, generation, "", s.Now)}},
			started(run, s.Now),
		)
	}
	version := s.Key.ResourceVersion
	next, ok := runkey.Claim(s.spec(), version, run.LeaseGeneration())
	if !ok {
		return nil
	}
	generation := next.Leased.Generation
	return concat(
		[]Op{NoStrays{}, CheckRun{run}},
		s.swap(next),
		[]Op{CheckRun{run}, CreateJob{run, generation, version}},
		s.confirm(run, generation),
		[]Op{WriteStatus{run, leasedStatus(run, generation, version, s.Now)}},
		started(run, s.Now),
	)
}

// noStraysOf looks for what a run without a key left behind. One that was never
// leased can have one Job only, the first, and its name is a lock.
func noStraysOf(run *v1alpha1.JobRun) []Op {
	if run.Status.Lease == nil {
		return nil
	}
	return []Op{NoStrays{}}
}

// announcePending says on the waiting run that it waits, once the run before it
// says that it executes or has ended. A run that can start at once skips it.
func announcePending(s *Snapshot) []Op {
	run := s.find(s.pendingID())
	if run == nil || run.Status.Phase == v1alpha1.PhasePending || run.IsReceipt() || !s.accepting(run) || !s.predecessorSettled() {
		return nil
	}
	if run.Status.Phase == v1alpha1.PhaseLeased && !s.requeued(run) {
		return nil
	}
	return concat(s.checkKey(), []Op{WriteStatus{run, pendingStatus(run)}}, triggered(run))
}

// predecessorSettled reports whether the status of the leased run has caught up
// with the key, so that nobody sees two runs pending.
func (s *Snapshot) predecessorSettled() bool {
	id := s.leasedID()
	if id == (runkey.Identity{}) || s.Gone[id] {
		return true
	}
	run := s.find(id)
	if run == nil {
		return false
	}
	return run.HasEnded() || (run.Status.Phase == v1alpha1.PhaseLeased && run.LeaseGeneration() == s.leasedGeneration())
}

// cancelWaiting ends runs that are cancelled while the key does not name them.
func cancelWaiting(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if !s.cancelled(run) || s.hasRole(run) || run.HasOutcome() || run.Status.Phase == v1alpha1.PhaseLeased {
			continue
		}
		if run.IsReceipt() || (s.isReceipt(run) && !s.withdrawn(run) && !s.forsaken(run)) {
			continue
		}
		status := endedStatus(run, s.cancellation(run))
		return concat(stopped(run), s.checkKey(), []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	}
	return nil
}

// forsaken reports whether no run will stand for a receipt unless it becomes
// one itself.
func (s *Snapshot) forsaken(receipt *v1alpha1.JobRun) bool {
	if s.unbound(receipt, v1alpha1.DispositionIdempotent) {
		return s.noRun(absorberOf(receipt)) && s.deliveredAs(receipt) == nil
	}
	return receipt.BypassedWebhook() || s.abandoned(receipt)
}

// elect gives a free waiting place to whoever waits for it longest.
func elect(s *Snapshot) []Op {
	if !s.Keyed || s.pendingID() != (runkey.Identity{}) {
		return nil
	}
	run := s.successor()
	if run == nil {
		return nil
	}
	return concat(s.checkRunsIfKeyMissing(), s.seat(run))
}

// reseat gives a run that reads Pending its place in the key back, when the key
// was deleted: whether somebody waits decides what becomes of an expired lease.
func reseat(s *Snapshot) []Op {
	if run := s.successor(); run != nil && s.rank(run) == 1 {
		return elect(s)
	}
	return nil
}

// checkRunsIfKeyMissing makes sure that a key is rebuilt from live objects.
func (s *Snapshot) checkRunsIfKeyMissing() []Op {
	if s.Key != nil {
		return nil
	}
	ops := s.checkKey()
	for _, run := range s.Runs {
		if !s.isReceipt(run) {
			ops = append(ops, CheckRun{run})
		}
	}
	return ops
}

// successor is who gets the waiting place next: first a run that reads Pending
// already, then runs by age, then receipts without a run, by age.
func (s *Snapshot) successor() *v1alpha1.JobRun {
	var best *v1alpha1.JobRun
	for _, run := range s.Runs {
		if s.rank(run) > 0 && (best == nil || s.rank(run) < s.rank(best)) {
			best = run
		}
	}
	return best
}

// rank orders successors; 0 is none. Runs are sorted by age already.
func (s *Snapshot) rank(run *v1alpha1.JobRun) int {
	switch {
	case !s.open(run) || s.hasRole(run) || run.Status.Phase == v1alpha1.PhaseLeased:
		return 0
	case run.Status.Phase == v1alpha1.PhasePending:
		return 1
	case !s.isReceipt(run):
		return 2
	case s.orphaned(run):
		return 3
	default:
		return 0
	}
}
