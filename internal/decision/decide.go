// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// step decides about one thing. It returns no operations if there is nothing to do.
type step struct {
	name   string
	decide func(*Snapshot) []Op
}

// steps are in the order of their urgency. Decide takes the first step that has something to do, so a key
// makes one transition per reconcile (P11). Runs leave the key before others enter it. Receipts follow runs,
// so their steps come last.
var steps = []step{
	// If the key was deleted, or a claim bypassed it, it gets the lease of the run that reads Leased.
	{"restore-lease", restoreLease},
	// A Job or a run that the key does not lease stops executing.
	{"delete-stray-job", deleteStrayJob},
	{"drop-superseded-lease", dropSupersededLease},
	// A counted receipt is bound before its run can end and be deleted.
	{"bind-counted", bindCounted},
	// A run that is gone, has ended or is cancelled loses the waiting place.
	{"release-pending", releasePending},
	// A run that reads Pending gets its place back before a lease expires: see restorePending.
	{"restore-pending", restorePending},
	// The run that executes: its claim, its Job, its end, its expiry.
	{"follow-lease", followLease},
	// A run that lost its place to an expired run becomes the receipt of that run.
	{"finish-displacement", finishDisplacement},
	// A run that reads Pending without a place loses its phase.
	{"clear-stale-pending", clearStalePending},
	// The waiting run starts, or its status says that it waits.
	{"claim", claim},
	// A run without a place waits in line. The key names the first one before a worker may claim the waiting run.
	{"mark-line", markLine},
	{"announce-pending", announcePending},
	// A run without a place ends if it is cancelled, is answered if it bypassed the webhook, or is seated.
	{"cancel-waiting", cancelWaiting},
	{"answer-bypassed", answerBypassed},
	{"fill-pending", fillPending},
	{"join-line", joinLine},
	// Receipts are counted, bound, and given the outcome of their run.
	{"count-receipts", countReceipts},
	{"bind-idempotent", bindIdempotent},
	{"copy-outcome", copyOutcome},
	// A note about a Job that may still appear goes when its time is over.
	{"confirm-jobs", confirmJobs},
	// Nothing waits for the text that says why a run does not get on.
	{"tell-obstacle", tellObstacle},
}

// Decide returns the plan of the first step that has something to do.
func Decide(s *Snapshot) Plan {
	for _, step := range steps {
		if s.Blocked[step.name] {
			continue
		}
		if ops := step.decide(s); len(ops) > 0 {
			return Plan{Step: step.name, Ops: withOwnCount(s.withBatchDecision(ops)), After: s.LookAgain()}
		}
	}
	return Plan{After: s.LookAgain()}
}

// checkKey precedes each status write that does not follow a swap of the key in the same plan (P5).
func (s *Snapshot) checkKey() []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{CheckKey{}}
}

// swapKey replaces the RunKey, if the home has one.
func (s *Snapshot) swapKey(next *v1alpha1.RunKeySpec) []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{SwapKey{Next: next}}
}

// join concatenates groups of operations.
func join(groups ...[]Op) []Op { return slices.Concat(groups...) }
