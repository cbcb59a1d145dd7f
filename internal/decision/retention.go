// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Retention is what DecideRetention decides about: a JobRun and its receipts.
type Retention struct {
	Now metav1.Time
	Run *v1alpha1.JobRun
	// TTL is how long a JobRun without its own ttlSecondsAfterFinished is kept; 0 for ever.
	TTL time.Duration
	// Seen is the time since this process first saw a completionTime that was in the future; 0 if it never
	// was.
	Seen time.Duration
	// Unbound are the unbound receipts that were answered with the run. Bound are the receipts that are bound
	// to it, oldest first.
	Unbound []*v1alpha1.JobRun
	Bound   []*v1alpha1.JobRun
	// Held are JobRuns that must be kept: the leader of a batch until all members record its decision, a JobRun that a
	// receipt without outcome names, the owner of an idempotency key until the key remembers it, and the JobRun of a
	// schedule until the status of its definition has the time that triggered it.
	Held map[types.UID]bool
	// History is how many bound receipts are kept.
	History int
	// Sweep is the time between two sweeps. A sweep finds the runs whose TTL ends before the next one.
	Sweep time.Duration
}

// DecideRetention decides which JobRuns to delete: a run after its TTL, and receipts beyond the history. A
// run stays while one of its receipts has no outcome, because the receipt copies it from the run. A receipt
// stays until it is counted. A JobRun that stands for several triggers stays while its create may be sent again (P9).
func DecideRetention(t Retention) Plan {
	var plan Plan
	excess, after := t.excess()
	for _, receipt := range excess {
		plan.Step, plan.Ops = "trim-receipts", append(plan.Ops, DeleteRun{receipt})
	}
	plan.After = after
	left, kept := t.TimeToLive()
	switch {
	case !kept || t.isAwaited():
	case left > t.Sweep: // A later sweep finds the run in time.
	case left > 0:
		plan.After = Sooner(plan.After, left)
	default:
		plan.Step, plan.Ops = "expire-ttl", append(plan.Ops, DeleteRun{t.Run})
	}
	return plan
}

// excess returns the receipts that go because they are beyond the history, and the time until more of them go. It leaves out
// receipts that are being deleted, which a finalizer may hold.
func (t Retention) excess() (excess []*v1alpha1.JobRun, after time.Duration) {
	excess, after = BeyondReceiptHistory(t.Bound, t.History, t.Now)
	return slices.DeleteFunc(excess, func(receipt *v1alpha1.JobRun) bool {
		return t.Held[receipt.UID] || receipt.DeletionTimestamp != nil
	}), after
}

// isAwaited reports whether a receipt, or a member of its batch, still needs the run.
func (t Retention) isAwaited() bool {
	return len(t.Unbound) > 0 || t.Held[t.Run.UID] || !AllHaveOutcome(t.Bound)
}

// AllHaveOutcome reports whether each of the receipts has the outcome of its run.
func AllHaveOutcome(receipts []*v1alpha1.JobRun) bool {
	return !slices.ContainsFunc(receipts, func(receipt *v1alpha1.JobRun) bool { return !receipt.HasOutcome() })
}

// TimeToLive returns how much longer the run is kept; ok is false if it has no TTL or has not ended. The TTL of a receipt that
// was created after the end of its run starts with its creation. If a clock ahead of this one wrote completionTime, the TTL
// starts when this process sees the run: see Seen. It lasts at least as long as the run is spared.
func (t Retention) TimeToLive() (left time.Duration, ok bool) {
	ttl, limited := ttlOf(t.Run, t.TTL)
	ended := t.Run.Status.CompletionTime
	if !limited || ended == nil || !t.Run.HasOutcome() || t.Run.DeletionTimestamp != nil {
		return 0, false
	}
	since := ended.Time
	if created := t.Run.CreationTimestamp.Time; created.After(since) {
		since = created
	}
	return max(ttl-max(t.Now.Sub(since), t.Seen), sparedFor(t.Run, t.Now)), true
}

// ttlOf returns how long a JobRun is kept after it has an outcome; ok is false if it is kept for ever. fallback is the TTL of
// a JobRun without its own; 0 for ever.
func ttlOf(run *v1alpha1.JobRun, fallback time.Duration) (ttl time.Duration, ok bool) {
	if own := run.Spec.TTLSecondsAfterFinished; own != nil {
		return time.Duration(*own) * time.Second, true
	}
	return fallback, fallback > 0
}
