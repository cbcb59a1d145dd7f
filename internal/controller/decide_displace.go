package controller

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// displaces reports whether a run whose lease has ended takes the place of the
// one that waits behind it. Only a run that asked to be absorbed gives way.
func displaces(run, waiting *v1alpha1.JobRun) bool {
	return run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue && runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay
}

// displace puts a fenced run in the place of the one that waits, which becomes
// its receipt before the run itself reads Pending again.
func (s *Snapshot) displace(run, waiting *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	next, ok := runkey.Displace(s.spec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	pending := *fenced.DeepCopy()
	ops := concat([]Op{CheckRun{waiting}}, s.swap(next), tellExpired(run, fenced))
	switch {
	case waiting.Status.Phase != v1alpha1.PhasePending:
		// It was never told that it waits, and simply waits on.
	case s.unmarkedEntries(run) < v1alpha1.MaxRecent:
		leaver := run.DeepCopy()
		leaver.Status = fenced
		var absorb []Op
		pending, absorb = s.absorb(leaver, waiting)
		ops = append(ops, absorb...)
	default:
		ops = append(ops, WriteStatus{waiting, unseatedStatus(waiting, run.Name)})
	}
	pending.Phase = v1alpha1.PhasePending
	return append(ops, WriteStatus{run, pending})
}

// absorb counts a run that has lost its place on the one that took it, and makes
// it a receipt.
func (s *Snapshot) absorb(run, displaced *v1alpha1.JobRun) (v1alpha1.JobRunStatus, []Op) {
	receipts := []*v1alpha1.JobRun{displaced}
	status := foldedStatus(run, receipts, s.Marked)
	return status, concat([]Op{WriteStatus{run, status}, Emit{coalesced(run, displaced)}}, s.markOps(run, receipts))
}

// finishDisplacement goes on with a displacement after its key was written: the
// key has the run wait again whose status is behind, and another reads Pending.
func finishDisplacement(s *Snapshot) []Op {
	run := s.find(s.pendingID())
	if !s.Keyed || run == nil || run.Status.Phase != v1alpha1.PhaseLeased || !s.requeued(run) || !s.accepting(run) {
		return nil
	}
	for _, waiting := range s.Runs {
		if waiting.Status.Phase != v1alpha1.PhasePending || s.hasRole(waiting) || !s.accepting(waiting) ||
			!displaces(run, waiting) || hasRecent(run, waiting.UID) || s.unmarkedEntries(run) >= v1alpha1.MaxRecent {
			continue
		}
		_, ops := s.absorb(run, waiting)
		return concat(s.checkKey(), []Op{CheckRun{waiting}}, ops)
	}
	return nil
}

// displaced reports whether a run lost its place to the one that has counted it.
// It was counted while that one waited, and so before it started again.
func (s *Snapshot) displaced(run *v1alpha1.JobRun) bool {
	by := s.counted[run.UID]
	if by == nil || by.UID == run.UID || !displaces(by, run) || !s.open(by) || !s.hasRole(by) || s.leasedID() == runkey.IdentityOf(run) {
		return false
	}
	ref := run.Status.RunRef
	told := ref != nil && ref.UID == run.UID // A receipt that was never told that it waits is one like any other.
	return told && (run.Status.Phase == v1alpha1.PhasePending || run.Status.Phase == "")
}

// adrift reports whether the run that a receipt is bound to has become a receipt
// itself, so that it is to be bound anew.
func (s *Snapshot) adrift(receipt *v1alpha1.JobRun) bool {
	ref := receipt.Status.RunRef
	return receipt.IsReceipt() && !receipt.HasOutcome() && ref != nil && s.byUID[ref.UID] != nil && s.byUID[ref.UID].IsReceipt()
}

// unseatedStatus says of a run that reads Pending that another one waits.
func unseatedStatus(run *v1alpha1.JobRun, pending string) v1alpha1.JobRunStatus {
	status := *run.Status.DeepCopy()
	status.Phase = ""
	status.Error = oneLine(fmt.Sprintf("waits for its key: run %s is pending", pending))
	return status
}
