// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/jobrun-dev/jobrun/internal/cache"
)

// blockedRun is a run whose Job a ResourceQuota refuses for now.
type blockedRun struct {
	uid     types.UID
	request Request
	// turn orders the runs by their first refusal.
	turn uint64
}

// isOverQuota reports whether the API server refused an object because of a ResourceQuota.
func isOverQuota(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// quotas returns the event handler of ResourceQuotas. When a quota gets room for Jobs, the handler enqueues the runs whose Jobs
// were refused first, as many as there is room for. The others wait for more room, or for the end of their backoff.
//
// A Job that goes makes room only when the quota controller has counted it, and a user may raise the quota. The quota shows
// both, and Jobs that are not of runs, too.
func (r *Reconciler) quotas() handler.TypedEventHandler[client.Object, Request] {
	wake := func(ctx context.Context, before, after client.Object, q queue) {
		if roomOf(after) > roomOf(before) {
			r.wake(ctx, before.GetNamespace(), q)
		}
	}
	return handler.TypedFuncs[client.Object, Request]{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { wake(ctx, e.ObjectOld, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { wake(ctx, e.Object, nil, q) },
	}
}

// roomOf returns how many further Jobs a quota allows. A quota that does not limit Jobs, or that is gone, allows any number.
func roomOf(object client.Object) int64 {
	if quota, ok := object.(*corev1.ResourceQuota); ok {
		return cache.RoomForJobs(quota)
	}
	return math.MaxInt64
}

// wake enqueues the blocked runs of a namespace that find room, those that were refused first. A run that is due already
// takes a place, because its try is under way.
func (r *Reconciler) wake(ctx context.Context, namespace string, q queue) {
	blocked := r.sightings.blockedIn(namespace)
	if len(blocked) == 0 {
		return
	}
	room, err := r.roomForJobs(ctx, namespace)
	if err != nil {
		log.FromContext(ctx).Error(err, "Listing ResourceQuotas from the cache")
		return
	}
	for _, run := range blocked {
		if room <= 0 {
			return
		}
		if !r.owns(ctx, run.request) {
			continue
		}
		room--
		if r.sightings.dueNow(run.uid) {
			q.Add(run.request)
		}
	}
}

// roomForJobs returns how many further Jobs the quotas of a namespace allow.
func (r *Reconciler) roomForJobs(ctx context.Context, namespace string) (int64, error) {
	var found corev1.ResourceQuotaList
	if err := r.Client.List(ctx, &found, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	room := int64(math.MaxInt64)
	for i := range found.Items {
		room = min(room, cache.RoomForJobs(&found.Items[i]))
	}
	return room, nil
}

// block records that a ResourceQuota refused the Job of a run.
func (o *sightings) block(run types.UID, request Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.blocked[run]; !known {
		o.turns++
		o.blocked[run] = blockedRun{uid: run, request: request, turn: o.turns}
	}
}

// blockedIn returns the blocked runs of a namespace, in the order of their first refusal.
func (o *sightings) blockedIn(namespace string) []blockedRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []blockedRun
	for _, run := range o.blocked {
		if run.request.Namespace == namespace {
			found = append(found, run)
		}
	}
	slices.SortFunc(found, func(a, b blockedRun) int { return int(a.turn) - int(b.turn) })
	return found
}

// dueNow ends the backoff of a run, and reports whether there was one.
func (o *sightings) dueNow(run types.UID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.retryAt[run].After(o.clock.Now()) {
		return false
	}
	delete(o.retryAt, run)
	return true
}
