// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file keeps what idempotency keys with a TTL remember of their owners (P10).

// noteEnd records how a run has ended that may be deleted before its idempotency keys remember it.
func (r *Reconciler) noteEnd(run *v1alpha1.JobRun) {
	hasStarted := run.Spec.Batch == nil || run.Status.Batch != nil && run.Status.Batch.Decision == v1alpha1.BatchStarted
	if !run.HasEnded() || run.Status.CompletionTime == nil || !hasStarted {
		return // A withdrawn member leaves its key to another delivery.
	}
	token := runkey.IdentityOf(run).Token
	end := runkey.OutcomeOf(run)
	if cache.IsSlim(run) {
		if r.sightings.endOf(token) != nil {
			return // It has the output and the error, which the cache does not keep.
		}
		end.Error = "run " + run.Name + " was deleted before its key remembered its output and its error"
	}
	r.sightings.noteEnd(token, end)
}

// awaitsMemory reports whether a run must be kept until the idempotency keys that it owns remember how it ended. If the cache
// does not show the run's own key, a live read decides.
func (r *Reconciler) awaitsMemory(ctx context.Context, run *v1alpha1.JobRun) (bool, error) {
	id := runkey.IdentityOf(run)
	owned, err := r.Keys.OwnedBy(ctx, run.Namespace, id)
	if err != nil {
		return false, err
	}
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	isOwnShown := false
	for i := range owned {
		if runkey.AwaitsOutcome(&owned[i].Spec) {
			return true, nil
		}
		isOwnShown = isOwnShown || owned[i].Name == name
	}
	if isOwnShown || runkey.TermsOf(run).TTLSeconds == 0 {
		return false, nil
	}
	own, err := r.Keys.Live(ctx, types.NamespacedName{Namespace: run.Namespace, Name: name})
	if err != nil || own == nil {
		return false, err
	}
	return runkey.Owner(&own.Spec) == id && runkey.AwaitsOutcome(&own.Spec), nil
}

// awaitsDelivery reports whether a run must be kept until a delivery is bound to it: a JobRun that has no phase yet, and an
// idempotency key that the run owns. If the delivery was answered with another run, it is not among the receipts of this one (P9).
func (r *Reconciler) awaitsDelivery(ctx context.Context, run *v1alpha1.JobRun) (bool, error) {
	owned, err := r.Keys.OwnedBy(ctx, run.Namespace, runkey.IdentityOf(run))
	if err != nil {
		return false, err
	}
	for i := range owned {
		deliveries, err := r.list(ctx, run.Namespace, cache.FieldIdempotency, owned[i].Name)
		if err != nil || slices.ContainsFunc(deliveries, isUnboundDelivery) {
			return true, err
		}
	}
	return false, nil
}

// isUnboundDelivery reports whether the owner of the idempotency key of a JobRun may come to stand for the JobRun.
func isUnboundDelivery(run *v1alpha1.JobRun) bool {
	return run.Spec.IdempotencyKey != "" && run.Status.Phase == "" && mayBeReceipt(run)
}

// requestsForOwner returns the request for the owner of the idempotency key of a delivery. Its retention may have waited for this
// delivery.
func (r *Reconciler) requestsForOwner(ctx context.Context, delivery *v1alpha1.JobRun) []Request {
	if delivery.Spec.IdempotencyKey == "" || !mayBeReceipt(delivery) {
		return nil
	}
	name := v1alpha1.IdempotencyKeyName(delivery.Spec.JobName, delivery.Spec.IdempotencyKey)
	key, err := r.Keys.Cached(ctx, types.NamespacedName{Namespace: delivery.Namespace, Name: name})
	switch {
	case err != nil:
		log.FromContext(ctx).Error(err, "Reading a RunKey from the cache")
		return nil
	case key == nil || key.Spec.Owner == nil:
		return nil // Then the change of the key enqueues its former owner.
	default:
		return []Request{runRequest(delivery.Namespace, key.Spec.Owner.RunName)}
	}
}

// requestsForMemory returns the requests for the objects that may wait until an idempotency key remembers how its owner ended:
// the owner, which its TTL may delete then, and the bound receipts whose run is gone.
func (r *Reconciler) requestsForMemory(ctx context.Context, key *v1alpha1.RunKey) []Request {
	if key.Spec.Owner == nil || key.Spec.IdempotencyTTLSeconds == 0 {
		return nil
	}
	runs := r.listed(ctx, key.Namespace, cache.FieldIdempotency, key.Name)
	bound := slices.DeleteFunc(runs, func(run *v1alpha1.JobRun) bool { return !run.IsReceipt() || run.HasOutcome() })
	return append(homeRequests(bound), runRequest(key.Namespace, key.Spec.Owner.RunName))
}

// forgets returns the time until an idempotency key is forgotten. remembers is false if the key does not remember how its owner
// ended.
func (r *Reconciler) forgets(key *v1alpha1.RunKey) (left time.Duration, remembers bool) {
	outcome := runkey.Remembered(&key.Spec)
	if outcome == nil || outcome.ForgetTime == nil {
		return 0, false
	}
	return max(outcome.ForgetTime.Sub(r.Clock.Now()), 0), true
}
