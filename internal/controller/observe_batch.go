// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// observeBatches records the batch decision for each member of a batch whose own status lacks it. A leader decides
// elsewhere (reconcileBatch).
func (o *observer) observeBatches(ctx context.Context) (err error) {
	for _, run := range o.Runs {
		if !run.AwaitsBatch() || run.LeadsBatch() {
			continue
		}
		if o.BatchDecisions[run.UID], err = o.batchDecision(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// batchDecision returns the decision that the leader of a member's batch records; empty while the batch is undecided.
// A missing leader was deleted or is not created yet, so its batch counts as withdrawn after BatchTimeout.
func (o *observer) batchDecision(ctx context.Context, member *v1alpha1.JobRun) (v1alpha1.BatchDecision, error) {
	batch := *member.Spec.Batch
	name := types.NamespacedName{Namespace: member.Namespace, Name: batch.Leader}
	leader, err := o.getRun(ctx, name, func(run *v1alpha1.JobRun) bool {
		return run.Spec.Batch != nil && *run.Spec.Batch == batch
	})
	switch {
	case err != nil:
		return "", err
	case leader == nil:
		left := o.BatchTimeout - o.sightings.unchangedFor(batchSubject(member.UID), batch)
		if left <= 0 {
			return v1alpha1.BatchWithdrawn, nil
		}
		o.RecheckIn(left)
		return "", nil
	case leader.Status.Batch != nil:
		return leader.Status.Batch.Decision, nil
	case leader.HasEnded():
		return v1alpha1.BatchWithdrawn, nil
	default:
		return "", nil
	}
}

// undecidedMembers returns the members of a leader's batch that have not recorded the decision on it. It returns none if
// the JobRun leads no batch.
func (r *Reconciler) undecidedMembers(ctx context.Context, leader *v1alpha1.JobRun) []*v1alpha1.JobRun {
	if !leader.LeadsBatch() {
		return nil
	}
	members := r.listed(ctx, leader.Namespace, cache.FieldBatch, cache.Batch(leader.Spec.Batch))
	return slices.DeleteFunc(members, func(member *v1alpha1.JobRun) bool { return !member.AwaitsBatch() })
}

// liveMembers lists the members of an undecided batch live. Such members have no phase.
func (r *Reconciler) liveMembers(ctx context.Context, leader *v1alpha1.JobRun) ([]*v1alpha1.JobRun, error) {
	var found v1alpha1.JobRunList
	err := r.Live.List(ctx, &found, client.InNamespace(leader.Namespace), client.MatchingFields{"status.phase": ""})
	if err != nil {
		return nil, fmt.Errorf("list the members of batch %s: %w", leader.Spec.Batch.ID, err)
	}
	var members []*v1alpha1.JobRun
	for i := range found.Items {
		if b := found.Items[i].Spec.Batch; b != nil && *b == *leader.Spec.Batch {
			members = append(members, &found.Items[i])
		}
	}
	return members, nil
}

// reconcileBatch decides whether the batch of a leader has started or is withdrawn.
func (r *Reconciler) reconcileBatch(ctx context.Context, req Request, leader *v1alpha1.JobRun) (time.Duration, error) {
	members, err := r.list(ctx, leader.Namespace, cache.FieldBatch, cache.Batch(leader.Spec.Batch))
	if err != nil {
		return 0, err
	}
	left := r.BatchTimeout - r.sightings.unchangedFor(batchSubject(leader.UID), *leader.Spec.Batch)
	batch := decision.Batch{Leader: leader, Members: members, Left: left}
	if left <= 0 && !batch.IsWhole() {
		// A withdrawn batch never executes, so this decision must not rest on a cache that may lag.
		if batch.Members, err = r.liveMembers(ctx, leader); err != nil {
			return 0, err
		}
	}
	plan := decision.DecideBatch(batch)
	return plan.After, r.carryOut(ctx, req, plan)
}
