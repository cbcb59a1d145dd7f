// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// absorb counts triggers on the run that stands for them, in one write, and binds them to it. It returns the
// status that it writes on the run, and the operations. No other function counts. status.coalesced.recent
// names every counted receipt that is not bound yet. A receipt that recent names is not counted again, even
// if the controller crashes after the write (P8).
func (s *Snapshot) absorb(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun) (v1alpha1.JobRunStatus, []Op) {
	status := countedStatus(run, receipts, s.marked)
	return status, join([]Op{WriteStatus{run, status}}, tellCoalesced(run, receipts, status), s.bind(run, receipts))
}

// bind binds counted triggers to their run.
func (s *Snapshot) bind(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun) []Op {
	ops := make([]Op, 0, len(receipts))
	for _, receipt := range receipts {
		ops = append(ops, WriteStatus{receipt, boundStatus(receipt, run, v1alpha1.PhaseCoalesced, s.Now)})
	}
	return ops
}

// room returns how many triggers can be counted on a run now. Entries of unmarked receipts take room.
func (s *Snapshot) room(run *v1alpha1.JobRun) int {
	room := v1alpha1.MaxRecent
	for _, entry := range recentEntries(run) {
		if !s.marked[entry.UID] {
			room--
		}
	}
	return room
}

// countReceipts counts receipts on the run that stands for them, as many as recent has room for.
func countReceipts(s *Snapshot) []Op {
	for _, first := range s.Relisted {
		run := s.runToCountOn(first)
		if run == nil || hasCounted(run, first.UID) {
			continue
		}
		room := s.room(run)
		if room <= 0 {
			continue // Receipts that recent names must be bound first.
		}
		receipts := s.receiptsOf(run, false)
		_, ops := s.absorb(run, receipts[:min(len(receipts), room)])
		return join(s.checkKey(), ops)
	}
	return nil
}

// bindCounted binds receipts that are counted, but not bound yet.
func bindCounted(s *Snapshot) []Op {
	for _, first := range s.Relisted {
		if by := s.countedBy[first.UID]; by != nil && (s.role(first) == RoleDisplaced || s.awaitsBinding(first, by)) {
			return join(s.checkKey(), []Op{CheckRun{by}}, s.bind(by, []*v1alpha1.JobRun{first}))
		}
		if run := s.runToCountOn(first); run != nil && hasCounted(run, first.UID) {
			return join(s.checkKey(), []Op{CheckRun{run}}, s.bind(run, s.receiptsOf(run, true)))
		}
	}
	return nil
}

// awaitsBinding reports whether a trigger that was stored without the webhook must be bound now to the run
// that counted it. That run executes, and may end. It counted the trigger while it waited, so it started
// after the trigger (P2).
func (s *Snapshot) awaitsBinding(receipt, by *v1alpha1.JobRun) bool {
	return s.role(receipt) == RoleUnadmitted && s.leased == runkey.IdentityOf(by) && s.isAccepting(receipt)
}

// runToCountOn returns the run to count a receipt on and to bind it to; nil if there is none.
func (s *Snapshot) runToCountOn(receipt *v1alpha1.JobRun) *v1alpha1.JobRun {
	switch role := s.role(receipt); {
	case role == RoleAbsorbed:
		return s.runOfAbsorbed(receipt)
	case role == RoleMisbound && receipt.Status.Phase == v1alpha1.PhaseCoalesced:
		return s.boundRun(receipt)
	default:
		return nil
	}
}

// receiptsOf returns the receipts to bind to a run: those that it has counted, or those that it has not.
func (s *Snapshot) receiptsOf(run *v1alpha1.JobRun, counted bool) []*v1alpha1.JobRun {
	var found []*v1alpha1.JobRun
	for _, receipt := range s.Relisted {
		if s.runToCountOn(receipt) == run && hasCounted(run, receipt.UID) == counted {
			found = append(found, receipt)
		}
	}
	return found
}

// markedEntries returns which receipts are marked, among those that some run's recent names. A marked receipt
// is bound, was promoted, or is gone. It is never counted again, so its entry may leave recent (P8).
func (s *Snapshot) markedEntries() map[types.UID]bool {
	receipts := make(map[types.UID]*v1alpha1.JobRun, len(s.Relisted))
	for _, receipt := range s.Relisted {
		receipts[receipt.UID] = receipt
	}
	marked := map[types.UID]bool{}
	for uid, run := range s.countedBy {
		receipt := receipts[uid]
		marked[uid] = !s.Unwritable[uid] && (receipt == nil || s.isMarked(receipt, run))
	}
	return marked
}

// isMarked reports whether the status of a receipt shows that the run has counted it.
func (s *Snapshot) isMarked(receipt, by *v1alpha1.JobRun) bool {
	switch receipt.Status.Phase {
	case "":
		return false
	case v1alpha1.PhasePending:
		return !displaces(by, receipt)
	default:
		return !s.isMisbound(receipt)
	}
}

func hasCounted(run *v1alpha1.JobRun, receipt types.UID) bool {
	return slices.ContainsFunc(recentEntries(run), func(t v1alpha1.CoalescedTrigger) bool { return t.UID == receipt })
}

func recentEntries(run *v1alpha1.JobRun) []v1alpha1.CoalescedTrigger {
	if run.Status.Coalesced == nil {
		return nil
	}
	return run.Status.Coalesced.Recent
}
