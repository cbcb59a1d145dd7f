// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// executes holds that no member of a batch executes before the batch has started.
func (j *Judge) executes(token string) {
	for _, run := range j.everRuns {
		if runkey.IdentityOf(run).Token == token && run.Spec.Batch != nil && j.decisionOf(run) != v1alpha1.BatchStarted {
			j.fail("batch: %s executes, but its batch is %q", describe(run), j.decisionOf(run))
		}
	}
}

// decisionOf is what the leader of a batch records, or recorded before it was deleted.
func (j *Judge) decisionOf(member *v1alpha1.JobRun) v1alpha1.BatchDecision {
	var decision v1alpha1.BatchDecision
	for _, leader := range j.leadersOf(member) {
		if b := leader.Status.Batch; b != nil && decision != v1alpha1.BatchStarted {
			decision = b.Decision
		}
	}
	return decision
}

// leadersOf are the leaders that a batch ever had: one that is deleted may be
// triggered again.
func (j *Judge) leadersOf(member *v1alpha1.JobRun) []*v1alpha1.JobRun {
	var leaders []*v1alpha1.JobRun
	for _, run := range j.everRuns {
		if run.Name == member.Spec.Batch.Leader && run.Spec.Batch != nil && *run.Spec.Batch == *member.Spec.Batch {
			leaders = append(leaders, run)
		}
	}
	return leaders
}

// allOrNothing holds that at rest the members of a batch agree on what became of
// it, and that nobody stands on one that was withdrawn.
func (j *Judge) allOrNothing(run *v1alpha1.JobRun) error {
	if run.Spec.Batch == nil {
		return nil
	}
	leaders := j.leadersOf(run)
	deleted := slices.ContainsFunc(leaders, func(leader *v1alpha1.JobRun) bool { return j.deleted[leader.UID] })
	switch decision := j.decisionOf(run); {
	case len(leaders) == 0 || deleted:
		return nil // Whoever deletes the leader withdraws what has not started.
	case decision == "":
		return fmt.Errorf("batch: %s is undecided at rest", describe(run))
	case withdrawn(run) != (decision == v1alpha1.BatchWithdrawn) && !j.ended(run.UID):
		return fmt.Errorf("batch: %s says %v, its leader %s", describe(run), run.Status.Batch, decision)
	case decision == v1alpha1.BatchWithdrawn && run.Status.Phase != v1alpha1.PhaseCancelled:
		return fmt.Errorf("batch: %s was withdrawn", describe(run))
	case decision == v1alpha1.BatchStarted && j.members(run) < int(run.Spec.Batch.Size):
		return fmt.Errorf("batch: %s has started, but only %d of %d members came to be", describe(run), j.members(run), run.Spec.Batch.Size)
	default:
		return nil
	}
}

// members is how many members of a batch ever were.
func (j *Judge) members(of *v1alpha1.JobRun) int {
	n := 0
	for _, run := range j.everRuns {
		if run.Spec.Batch != nil && *run.Spec.Batch == *of.Spec.Batch {
			n++
		}
	}
	return n
}

func withdrawn(run *v1alpha1.JobRun) bool {
	return run.Status.Batch != nil && run.Status.Batch.Decision == v1alpha1.BatchWithdrawn
}
