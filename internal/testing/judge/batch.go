// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// executes checks that no member of a batch executes before the batch has started.
func (j *Judge) executes(token string) {
	for _, run := range j.everRuns {
		if runkey.IdentityOf(run).Token == token && run.Spec.Batch != nil && j.decisionOf(run) != v1alpha1.BatchStarted {
			j.fail("batch: %s executes, but its batch is %q", describe(run), j.decisionOf(run))
		}
	}
}

// decisionOf returns the decision about a member's batch that the leader's status records, or recorded before
// the leader was deleted.
func (j *Judge) decisionOf(member *v1alpha1.JobRun) v1alpha1.BatchDecision {
	var decision v1alpha1.BatchDecision
	for _, leader := range j.leadersOf(member) {
		if b := leader.Status.Batch; b != nil && decision != v1alpha1.BatchStarted {
			decision = b.Decision
		}
	}
	return decision
}

// leadersOf returns all leaders that a member's batch ever had. There may be several, because a user may
// trigger a deleted leader again.
func (j *Judge) leadersOf(member *v1alpha1.JobRun) []*v1alpha1.JobRun {
	var leaders []*v1alpha1.JobRun
	for _, run := range j.everRuns {
		if run.Name == member.Spec.Batch.Leader && run.Spec.Batch != nil && *run.Spec.Batch == *member.Spec.Batch {
			leaders = append(leaders, run)
		}
	}
	return leaders
}

// allOrNothing checks at rest that a member of a batch has the outcome that its leader decided.
func (j *Judge) allOrNothing(run *v1alpha1.JobRun) error {
	if run.Spec.Batch == nil {
		return nil
	}
	leaders := j.leadersOf(run)
	deleted := slices.ContainsFunc(leaders, func(leader *v1alpha1.JobRun) bool { return j.deleted[leader.UID] })
	switch decision := j.decisionOf(run); {
	case len(leaders) == 0 || deleted:
		return nil // Deleting the leader withdraws the members that have not started.
	case decision == "":
		return fmt.Errorf("batch: %s is undecided at rest", describe(run))
	case withdrawn(run) != (decision == v1alpha1.BatchWithdrawn) && !j.ended(run.UID):
		return fmt.Errorf("batch: %s has decision %v, its leader %s", describe(run), run.Status.Batch, decision)
	case decision == v1alpha1.BatchWithdrawn && run.Status.Phase != v1alpha1.PhaseCancelled:
		return fmt.Errorf("batch: %s was withdrawn, but is not Cancelled", describe(run))
	case decision == v1alpha1.BatchStarted && j.members(run) < int(run.Spec.Batch.Size):
		return fmt.Errorf("batch: %s has started, but only %d of %d members ever existed", describe(run), j.members(run), run.Spec.Batch.Size)
	default:
		return nil
	}
}

// members returns how many members of a batch ever existed.
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
