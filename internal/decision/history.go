// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// defaultHistory is how many runs are kept if the definition does not say it.
const defaultHistory = 100

// BeyondHistory returns the ended runs that a definition does not keep any more, those that ended first at the beginning.
// ended are the runs that it completed and that have ended.
func BeyondHistory(d *v1alpha1.JobDefinition, ended []*v1alpha1.JobRun) []*v1alpha1.JobRun {
	var completed, failed []*v1alpha1.JobRun
	for _, run := range ended {
		switch {
		case run.Status.CompletionTime == nil || run.DeletionTimestamp != nil:
		case run.Status.Phase == v1alpha1.PhaseCompleted:
			completed = append(completed, run)
		default: // Failed or Cancelled
			failed = append(failed, run)
		}
	}
	return append(oldest(completed, d.Spec.SuccessfulRunsHistoryLimit), oldest(failed, d.Spec.FailedRunsHistoryLimit)...)
}

// oldest returns the runs beyond the limit that ended first.
func oldest(runs []*v1alpha1.JobRun, limit *int32) []*v1alpha1.JobRun {
	kept := defaultHistory
	if limit != nil {
		kept = int(*limit)
	}
	slices.SortFunc(runs, compareEnds)
	return runs[:max(len(runs)-kept, 0)]
}

// compareEnds orders runs by when they ended.
func compareEnds(a, b *v1alpha1.JobRun) int {
	if c := a.Status.CompletionTime.Compare(b.Status.CompletionTime.Time); c != 0 {
		return c
	}
	return v1alpha1.CompareStored(a, b)
}

// LatestEnd returns the run that ended last; nil without one.
func LatestEnd(runs ...*v1alpha1.JobRun) *v1alpha1.JobRun {
	var latest *v1alpha1.JobRun
	for _, run := range runs {
		if run != nil && run.Status.CompletionTime != nil && (latest == nil || compareEnds(run, latest) > 0) {
			latest = run
		}
	}
	return latest
}

// DecideHistory decides whether a run goes that its definition does not keep any more. It stays for as long as its TTL would
// not delete it either (P9). unlocked is how long this process has seen that no key names the run: the finished Job of the run
// must stay for JobLock after that (P6), and goes with the run.
//
// The receipts go before their run. All of them have the outcome, so P9 allows either order. But after a crash the other
// order would leave receipts whose run is gone, which no history finds any more.
func DecideHistory(t Retention, unlocked time.Duration) Plan {
	if t.isAwaited() || slices.ContainsFunc(t.Bound, func(receipt *v1alpha1.JobRun) bool { return t.Held[receipt.UID] }) {
		return Plan{}
	}
	if left := JobLock - unlocked; left > 0 && t.Run.RunsAsJob() && t.Run.LeaseGeneration() > 0 {
		return Plan{After: left}
	}
	left := sparedFor(t.Run, t.Now)
	for _, receipt := range t.Bound {
		left = max(left, sparedFor(receipt, t.Now))
	}
	if left > 0 {
		return Plan{After: left}
	}
	plan := Plan{Step: "trim-history"}
	for _, receipt := range t.Bound {
		if receipt.DeletionTimestamp == nil {
			plan.Ops = append(plan.Ops, DeleteRun{receipt})
		}
	}
	plan.Ops = append(plan.Ops, DeleteRun{t.Run})
	return plan
}
