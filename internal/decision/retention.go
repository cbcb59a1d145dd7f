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

// Retention is what a decision about how long to keep a JobRun is made from.
type Retention struct {
	Now metav1.Time
	Run *v1alpha1.JobRun
	// Seen is how long this process has seen the run at an end that was to come by
	// its own clock; 0 if it never was.
	Seen time.Duration
	// Unbound are the receipts that were answered with the run and are not
	// bound to any, Bound those bound to it, oldest first.
	Unbound []*v1alpha1.JobRun
	Bound   []*v1alpha1.JobRun
	// Held are those that must be kept: a member of the batch they lead has yet to
	// learn what became of it, or a receipt names them that has no outcome.
	Held map[types.UID]bool
	// History is how many bound receipts are kept.
	History int
	// Sweep is how often the runs are looked for whose TTL is over before the next time.
	Sweep time.Duration
}

// DecideRetention says which JobRuns have been kept long enough. A run stays as
// long as one of its receipts has no outcome, for the receipt gets it from the
// run, and a receipt stays until it is counted.
func DecideRetention(t Retention) Plan {
	var plan Plan
	for _, receipt := range t.excess() {
		plan.Step, plan.Ops = "trim-receipts", append(plan.Ops, DeleteRun{receipt})
	}
	left, kept := t.TimeToLive()
	switch {
	case !kept || t.isAwaited():
	case left > t.Sweep: // A sweep is in time to call for it.
	case left > 0:
		plan.After = left
	default:
		plan.Step, plan.Ops = "expire-ttl", append(plan.Ops, DeleteRun{t.Run})
	}
	return plan
}

// excess are the oldest receipts that the history has no room for. One that is being
// deleted may be held by a finalizer.
func (t Retention) excess() []*v1alpha1.JobRun {
	var excess []*v1alpha1.JobRun
	for _, receipt := range t.Bound[:max(len(t.Bound)-t.History, 0)] {
		if !t.Held[receipt.UID] && receipt.DeletionTimestamp == nil {
			excess = append(excess, receipt)
		}
	}
	return excess
}

// isAwaited reports whether a receipt, or a member of its batch, still needs the run.
func (t Retention) isAwaited() bool {
	return len(t.Unbound) > 0 || t.Held[t.Run.UID] || !AllHaveOutcome(t.Bound)
}

// AllHaveOutcome reports whether each of the receipts has the outcome of its run.
func AllHaveOutcome(receipts []*v1alpha1.JobRun) bool {
	return !slices.ContainsFunc(receipts, func(receipt *v1alpha1.JobRun) bool { return !receipt.HasOutcome() })
}

// TimeToLive is how long the run is kept from now; ok is false if it is kept for
// good. A run that is said to have ended in the future was written by somebody
// whose clock is ahead: its time begins when it is seen.
func (t Retention) TimeToLive() (left time.Duration, ok bool) {
	ttl, ended := t.Run.Spec.TTLSecondsAfterFinished, t.Run.Status.CompletionTime
	if ttl == nil || ended == nil || !t.Run.HasOutcome() || t.Run.DeletionTimestamp != nil {
		return 0, false
	}
	return time.Duration(*ttl)*time.Second - max(t.Now.Sub(ended.Time), t.Seen), true
}
