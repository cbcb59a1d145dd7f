package controller

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// settleBatch bounds how many receipts one reconcile gives their outcome.
const settleBatch = 64

// unbound reports whether a JobRun is a receipt that no run is known to stand
// for yet. A member of a batch is none before the batch has started.
func (s *Snapshot) unbound(run *v1alpha1.JobRun, disposition v1alpha1.Disposition) bool {
	return run.Status.Phase == "" && run.WasAbsorbed() &&
		run.Spec.Admission.Disposition == disposition && s.isReceipt(run) && s.started(run)
}

// loose reports whether a trigger is to be counted on a run, and bound to it.
func (s *Snapshot) loose(receipt *v1alpha1.JobRun) bool {
	return s.unbound(receipt, v1alpha1.DispositionCoalesced) ||
		(receipt.Status.Phase == v1alpha1.PhaseCoalesced && s.adrift(receipt))
}

// standsFor is the run that a receipt may be bound to; nil if there is none, or
// if it is not known yet.
func (s *Snapshot) standsFor(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if receipt.IsReceipt() {
		return s.standIn(receipt)
	}
	if run := s.counted[receipt.UID]; run != nil && s.startsAfter(run, receipt) {
		return run
	}
	run := s.find(absorberOf(receipt))
	if run != nil && run.IsReceipt() && s.standIn(run) != nil {
		run = s.standIn(run)
	}
	if run != nil && s.startsAfter(run, receipt) {
		return run
	}
	if run == nil && !s.Gone[absorberOf(receipt)] {
		return nil
	}
	// The run it was answered with ended before, or never came to be. Whoever
	// waits now starts after the trigger, too.
	pending := s.find(s.pendingID())
	if pending != nil && pending.UID != receipt.UID && s.accepting(pending) {
		return pending
	}
	return nil
}

// startsAfter reports whether a run started, or will start, after a trigger was
// accepted: it still waits, or its claim was based on a later version of the key.
func (s *Snapshot) startsAfter(run, receipt *v1alpha1.JobRun) bool {
	if run.UID == receipt.UID || run.IsReceipt() || !s.started(run) {
		return false
	}
	id := runkey.IdentityOf(run)
	if s.open(run) && (s.pendingID() == id || (run.Status.Phase == "" && !run.WasAbsorbed())) {
		return s.leasedID() != id || s.evidence(run, receipt)
	}
	return s.evidence(run, receipt)
}

// evidence reports whether a run's claim is later than a trigger's admission.
func (s *Snapshot) evidence(run, receipt *v1alpha1.JobRun) bool {
	version := ""
	if run.Status.Lease != nil {
		version = run.Status.Lease.KeyVersion
	}
	if s.leasedID() == runkey.IdentityOf(run) {
		version = s.Key.Spec.Leased.FromVersion
	}
	return runkey.StartedAfter(version, receipt.Spec.Admission.KeyVersion)
}

// orphaned reports whether a receipt has no run to stand for it and must become
// one itself.
func (s *Snapshot) orphaned(receipt *v1alpha1.JobRun) bool {
	return s.abandoned(receipt) && !s.keptBack(receipt)
}

// abandoned reports whether no run stands for a receipt, and none will.
func (s *Snapshot) abandoned(receipt *v1alpha1.JobRun) bool {
	if !s.unbound(receipt, v1alpha1.DispositionCoalesced) || s.standsFor(receipt) != nil {
		return false
	}
	id := absorberOf(receipt)
	if s.find(id) == nil && !s.Gone[id] {
		return false
	}
	// While somebody holds the waiting place, it is either theirs to stand for
	// the receipt or about to be freed.
	return s.pendingID() == runkey.Identity{} || s.vacating()
}

// keptBack reports whether the idempotency key of a receipt decides what becomes
// of it: another delivery may own the key, or come to own it. A receipt that
// comes to own it itself is none any more.
func (s *Snapshot) keptBack(receipt *v1alpha1.JobRun) bool {
	owner, owned := s.Owners[receipt.UID]
	return owned && (owner != absorberOf(receipt) || s.noRun(owner))
}

// vacating reports whether the holder of the waiting place is about to lose it.
func (s *Snapshot) vacating() bool {
	run := s.find(s.pendingID())
	return (run == nil && s.Void) || (run != nil && !s.open(run))
}

func hasRecent(run *v1alpha1.JobRun, receipt types.UID) bool {
	return run.Status.Coalesced != nil && slices.ContainsFunc(run.Status.Coalesced.Recent,
		func(t v1alpha1.CoalescedTrigger) bool { return t.UID == receipt })
}

// fold counts absorbed triggers on the run that stands for them, many in one
// write. The entries it makes are what makes counting exactly once survive a
// crash: a receipt that is among them is not counted again.
func fold(s *Snapshot) []Op {
	for _, first := range s.Receipts {
		if !s.loose(first) {
			continue
		}
		run := s.standsFor(first)
		if run == nil || hasRecent(run, first.UID) {
			continue
		}
		room := v1alpha1.MaxRecent - s.unmarkedEntries(run)
		if room <= 0 {
			continue // The entries there are must be marked first.
		}
		receipts := s.uncounted(run)
		receipts = receipts[:min(len(receipts), room)]
		status := foldedStatus(run, receipts, s.Marked)
		ops := concat(s.checkKey(), []Op{WriteStatus{run, status}})
		for _, receipt := range receipts {
			ops = append(ops, Emit{coalesced(run, receipt)})
		}
		return concat(ops, s.markOps(run, receipts))
	}
	return nil
}

// uncounted are the receipts that run stands for and has not counted.
func (s *Snapshot) uncounted(run *v1alpha1.JobRun) []*v1alpha1.JobRun {
	var found []*v1alpha1.JobRun
	for _, receipt := range s.Receipts {
		if s.loose(receipt) && !hasRecent(run, receipt.UID) && s.standsFor(receipt) == run {
			found = append(found, receipt)
		}
	}
	return found
}

// unmarkedEntries counts the recent entries that must stay, for their receipts
// are not marked yet.
func (s *Snapshot) unmarkedEntries(run *v1alpha1.JobRun) int {
	if run.Status.Coalesced == nil {
		return 0
	}
	n := 0
	for _, entry := range run.Status.Coalesced.Recent {
		if !s.Marked[entry.UID] {
			n++
		}
	}
	return n
}

// mark binds receipts that are counted already.
func mark(s *Snapshot) []Op {
	for _, first := range s.Receipts {
		if by := s.counted[first.UID]; s.displaced(first) || (by != nil && s.leasedID() == runkey.IdentityOf(by) && s.awaitsMark(first)) {
			return concat(s.checkKey(), []Op{CheckRun{by}}, s.markOps(by, []*v1alpha1.JobRun{first}))
		}
		if !s.loose(first) {
			continue
		}
		run := s.standsFor(first)
		if run == nil || !hasRecent(run, first.UID) {
			continue
		}
		var receipts []*v1alpha1.JobRun
		for _, receipt := range s.Receipts {
			if s.loose(receipt) && hasRecent(run, receipt.UID) && s.standsFor(receipt) == run {
				receipts = append(receipts, receipt)
			}
		}
		return concat(s.checkKey(), []Op{CheckRun{run}}, s.markOps(run, receipts))
	}
	return nil
}

// awaitsMark reports whether a trigger that was stored without the webhook is to
// be bound to whoever counted it. It was counted on a run that waited, so a claim
// of that run came later and is evidence enough.
func (s *Snapshot) awaitsMark(run *v1alpha1.JobRun) bool {
	return run.BypassedWebhook() && run.Status.Phase == "" && s.isReceipt(run) && !s.cancelled(run) && s.started(run)
}

func (s *Snapshot) markOps(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun) []Op {
	ops := make([]Op, 0, len(receipts))
	for _, receipt := range receipts {
		ops = append(ops, WriteStatus{receipt, boundStatus(receipt, run, v1alpha1.PhaseCoalesced, s.Now)})
	}
	return ops
}

// bindIdempotent binds triggers that were delivered before. They need no
// evidence, and are no trigger of their own to be counted.
func bindIdempotent(s *Snapshot) []Op {
	var ops []Op
	for _, receipt := range s.Receipts {
		if run := s.deliveredTo(receipt); run != nil && len(ops) < settleBatch {
			ops = append(ops, WriteStatus{receipt, boundStatus(receipt, run, v1alpha1.PhaseIdempotent, s.Now)})
		}
	}
	return ops
}

// deliveredTo is the run that an idempotent receipt is to be bound to; nil if there is
// nothing to bind.
func (s *Snapshot) deliveredTo(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if receipt.Status.Phase == v1alpha1.PhaseIdempotent && s.adrift(receipt) {
		if run := s.standIn(receipt); run != nil {
			return run
		}
	}
	if !s.unbound(receipt, v1alpha1.DispositionIdempotent) && !s.abandoned(receipt) {
		return nil
	}
	if run := s.deliveredAs(receipt); run != nil && run.UID != receipt.UID {
		return run
	}
	return nil
}

// deliveredAs is the run that stands for a receipt by its idempotency key: the
// one it was answered with, unless it was absorbed, or the one that owns the key
// since.
func (s *Snapshot) deliveredAs(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	candidates := []runkey.Identity{s.Owners[receipt.UID]}
	if receipt.Spec.Admission.Disposition == v1alpha1.DispositionIdempotent {
		candidates = []runkey.Identity{absorberOf(receipt), s.Owners[receipt.UID]}
	} else if candidates[0] == absorberOf(receipt) {
		return nil
	}
	for _, id := range candidates {
		run := s.find(id)
		switch {
		case run == nil && !s.Gone[id]:
			return nil
		case run == nil || s.isReceipt(run) || s.withdrawn(run):
			continue
		case s.started(run):
			return run
		default:
			return nil // Nobody stands on what may be withdrawn.
		}
	}
	return nil
}

// settle gives bound receipts the outcome of their run.
func settle(s *Snapshot) []Op {
	var ops []Op
	for _, receipt := range s.Receipts {
		if len(ops) >= settleBatch {
			break
		}
		if !receipt.IsReceipt() || receipt.HasOutcome() {
			continue
		}
		if status, ok := s.outcomeOf(receipt); ok {
			ops = append(ops, WriteStatus{receipt, status})
		}
	}
	return ops
}

func (s *Snapshot) outcomeOf(receipt *v1alpha1.JobRun) (v1alpha1.JobRunStatus, bool) {
	last := s.last(receipt)
	run := s.standIn(last)
	switch {
	case run != nil && run.HasEnded() && last == receipt:
		if !complete(run) {
			return v1alpha1.JobRunStatus{}, false // Whoever completes it calls for its receipts.
		}
		return outcomeStatus(receipt, run), true
	case run == nil && s.Gone[runOf(last)]:
		return deletedStatus(receipt, last.Status.RunRef.Name, s.Now), true
	case receipt.EndRequested():
		return cancelledReceiptStatus(receipt, s.Now), true
	default:
		return v1alpha1.JobRunStatus{}, false
	}
}

// standIn is the run that stands for a bound receipt; nil if it is not in the
// snapshot.
func (s *Snapshot) standIn(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	if ref := s.last(receipt).Status.RunRef; ref != nil {
		return s.byUID[ref.UID]
	}
	return nil // Whoever wrote the phase did not say.
}

// last is the receipt itself, or, where the run that it names has become a
// receipt since, the one that names a run.
func (s *Snapshot) last(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	seen := map[types.UID]bool{} // Whoever wrote the statuses may have made a circle.
	for !seen[receipt.UID] {
		seen[receipt.UID] = true
		ref := receipt.Status.RunRef
		if ref == nil || s.byUID[ref.UID] == nil || !s.byUID[ref.UID].IsReceipt() {
			break
		}
		receipt = s.byUID[ref.UID]
	}
	return receipt
}

// runOf identifies the run of a bound receipt by its UID.
func runOf(receipt *v1alpha1.JobRun) runkey.Identity {
	ref := receipt.Status.RunRef
	if ref == nil {
		return runkey.Identity{}
	}
	return runkey.Identity{Name: ref.Name, Token: "uid/" + string(ref.UID)}
}
