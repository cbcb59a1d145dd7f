// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// awaitsSchedule reports whether a JobRun that a schedule triggered must be kept: see schedule.Awaits. An older definition of the
// cache keeps it for longer. If the cache does not show the definition or the schedule, a live read decides.
func (r *Reconciler) awaitsSchedule(ctx context.Context, run *v1alpha1.JobRun) (bool, error) {
	name, _, ok := schedule.TickOf(run)
	if !ok {
		return false, nil
	}
	key := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.JobName}
	found, err := cache.FindDefinition(ctx, r.Client, r.Live, key, func(d *v1alpha1.JobDefinition) bool {
		return schedule.Find(d.Spec.Schedules, name) != nil
	})
	return found != nil && schedule.Awaits(run, found), err
}

const (
	// trimmedAtOnce bounds the JobRuns that one reconcile of a definition deletes, but for the receipts of the last run.
	trimmedAtOnce = 100
	// trimMore is the time until the next deletions.
	trimMore = time.Second
	// trimHeld is the time until the next look at runs that must stay for now. The change of a JobRun calls for it earlier.
	trimHeld = time.Minute
)

// trimHistory deletes the runs that a definition does not keep any more. after is the time until the next look; 0 if nothing is
// left to delete.
func (d *definitions) trimHistory(ctx context.Context, definition *v1alpha1.JobDefinition, ended []*v1alpha1.JobRun) (
	after time.Duration, err error,
) {
	deleted := 0
	for _, run := range decision.BeyondHistory(definition, ended) {
		if deleted >= trimmedAtOnce {
			return trimMore, nil
		}
		if d.awaitOwnWrite(run) != nil {
			after = decision.Sooner(after, staleRetry)
			continue
		}
		plan, err := d.decideHistory(ctx, run)
		if err != nil {
			return 0, err
		}
		if len(plan.Ops) == 0 && plan.After == 0 {
			plan.After = trimHeld
		}
		after = decision.Sooner(after, plan.After)
		if err := d.trim(ctx, run, plan); err != nil {
			return 0, err
		}
		deleted += len(plan.Ops)
	}
	return after, nil
}

// decideHistory observes a run that its definition does not keep any more, and decides about it.
func (d *definitions) decideHistory(ctx context.Context, run *v1alpha1.JobRun) (decision.Plan, error) {
	awaited, err := d.isAwaited(ctx, run)
	if err != nil {
		return decision.Plan{}, err
	}
	unbound, bound, err := d.observeReceipts(ctx, run) // After isAwaited: a delivery that is bound in between is one of them (P9).
	if err != nil {
		return decision.Plan{}, err
	}
	held, err := d.findHeld(ctx, run, bound)
	if err != nil {
		return decision.Plan{}, err
	}
	held[run.UID] = held[run.UID] || awaited
	isLeased, err := d.hasPlace(ctx, run)
	if err != nil {
		return decision.Plan{}, err
	}
	subject, unlocked := historySubject(run.UID), time.Duration(0)
	if isLeased {
		d.sightings.forget(subject)
	} else {
		unlocked = d.sightings.unchangedFor(subject, true)
	}
	return decision.DecideHistory(decision.Retention{Now: metav1.NewTime(d.Clock.Now()), Run: run, Unbound: unbound, Bound: bound, Held: held}, unlocked), nil
}

// trim deletes a run and its receipts in the order of the plan, until one deletion fails.
func (d *definitions) trim(ctx context.Context, run *v1alpha1.JobRun, plan decision.Plan) (err error) {
	req := runRequest(run.Namespace, run.Name)
	a := d.newAction(req, decision.NewSnapshot(decision.Observation{}))
	defer func() { a.journal.log(log.FromContext(ctx), req, plan, decision.SubjectOf(plan, nil), err) }()
	for _, op := range plan.Ops {
		if err := a.do(ctx, op); err != nil {
			return err
		}
	}
	return nil
}
