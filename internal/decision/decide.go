// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// step looks at a snapshot and decides about one thing; no operations if there is
// nothing to do.
type step struct {
	name   string
	decide func(*Snapshot) []Op
}

// steps are in the order of their urgency, and the first that has something to
// do is the only one done: a key makes one transition per reconcile (P11). What
// leaves goes before what enters. Receipts come last, for they follow runs; only
// those that are counted are bound early, before their run can end.
var steps = []step{
	// The key is made to say what executes, if it was deleted or missed a claim.
	{"restore-lease", restoreLease},
	// What the key does not lease must not execute.
	{"delete-stray-job", deleteStrayJob},
	{"drop-superseded-lease", dropSupersededLease},
	// A receipt that is counted is bound before its run can end and be forgotten.
	{"bind-counted", bindCounted},
	// The waiting place is freed of a run that is gone, has ended or is cancelled.
	{"release-pending", releasePending},
	// A run that reads Pending gets its place back before a lease may expire.
	{"restore-pending", restorePending},
	// The run that executes: its claim, its Job, its end, its expiry.
	{"follow-lease", followLease},
	// A run that lost its place to one that waits again becomes its receipt.
	{"finish-displacement", finishDisplacement},
	// A status that says more than the key is taken back.
	{"clear-stale-pending", clearStalePending},
	// The waiting run starts, or is told that it waits.
	{"claim", claim},
	{"announce-pending", announcePending},
	// A free waiting place goes to the run that waits for it longest.
	{"cancel-waiting", cancelWaiting},
	{"answer-bypassed", answerBypassed},
	{"fill-pending", fillPending},
	// Receipts: counted, bound, and given the outcome of their run.
	{"count-receipts", countReceipts},
	{"bind-idempotent", bindIdempotent},
	{"copy-outcome", copyOutcome},
}

// Decide says what to do about a home, and when to look at it again.
func Decide(s *Snapshot) Plan {
	for _, step := range steps {
		if s.Blocked[step.name] {
			continue
		}
		if ops := step.decide(s); len(ops) > 0 {
			return Plan{Step: step.name, Ops: s.withBatchDecision(ops), After: s.LookAgain()}
		}
	}
	return Plan{After: s.LookAgain()}
}

// checkKey goes before a write if this plan has not swapped the key before (P5).
func (s *Snapshot) checkKey() []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{CheckKey{}}
}

// swapKey stores, creates or deletes the RunKey. A home without a key has none.
func (s *Snapshot) swapKey(next *v1alpha1.RunKeySpec) []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{SwapKey{Next: next}}
}

// join puts groups of operations one after the other.
func join(groups ...[]Op) []Op {
	var ops []Op
	for _, group := range groups {
		ops = append(ops, group...)
	}
	return ops
}
