// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// sweepRoom is the length of the work queue at which a sweep stops. The next sweep goes on.
const sweepRoom = 10_000

// sweeps returns a source that enqueues the runs, the finished Jobs and the idempotency keys whose TTL ends soon, once per
// SweepPeriod. Those with a longer TTL take no memory in the queue.
func (r *Reconciler) sweeps(objects cache.Informers) source.TypedSource[Request] {
	return source.TypedFunc[Request](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[Request]) error {
		runs, err := storeOf(ctx, r.Client, objects, &v1alpha1.JobRun{})
		if err != nil {
			return fmt.Errorf("sweep JobRuns whose TTL is over: %w", err)
		}
		jobs, err := storeOf(ctx, r.Client, objects, &batchv1.Job{})
		if err != nil {
			return fmt.Errorf("sweep Jobs whose TTL is over: %w", err)
		}
		keys, err := storeOf(ctx, r.Client, objects, &v1alpha1.RunKey{})
		if err != nil {
			return fmt.Errorf("sweep RunKeys whose TTL is over: %w", err)
		}
		go wait.UntilWithContext(ctx, func(ctx context.Context) {
			r.sweep(runs, queue)
			r.sweepJobs(ctx, jobs, queue)
			r.sweepKeys(keys, queue)
		}, r.SweepPeriod)
		return nil
	})
}

// sweep enqueues each run of an owned home whose TTL ends before the next sweep, for the time when the TTL ends.
func (r *Reconciler) sweep(runs store, queue workqueue.TypedDelayingInterface[Request]) {
	now := metav1.NewTime(r.Clock.Now())
	room := sweepRoom - queue.Len()
	for _, object := range runs.List() {
		run, ok := object.(*v1alpha1.JobRun)
		if !ok || room <= 0 {
			continue
		}
		if after, soon := r.expires(run, now); soon && r.ownsRun(run) {
			queue.AddAfter(runRequest(run.Namespace, run.Name), after)
			room--
		}
	}
}

// sweepJobs enqueues each finished Job of an owned home whose TTL ends before the next sweep, for the time when the TTL ends.
func (r *Reconciler) sweepJobs(ctx context.Context, jobs store, queue workqueue.TypedDelayingInterface[Request]) {
	room := sweepRoom - queue.Len()
	for _, object := range jobs.List() {
		job, ok := object.(*batchv1.Job)
		if !ok || room <= 0 {
			continue
		}
		if after, soon := r.expiresJob(ctx, job); soon {
			queue.AddAfter(jobRequest(job), after)
			room--
		}
	}
}

// sweepKeys enqueues each owned idempotency key that is forgotten before the next sweep, for that time.
func (r *Reconciler) sweepKeys(keys store, queue workqueue.TypedDelayingInterface[Request]) {
	room := sweepRoom - queue.Len()
	for _, object := range keys.List() {
		key, ok := object.(*v1alpha1.RunKey)
		if !ok || room <= 0 {
			continue
		}
		if left, remembers := r.forgets(key); remembers && left <= r.SweepPeriod && r.ownsKey(key) {
			queue.AddAfter(Request{Namespace: key.Namespace, RunKey: key.Name}, left)
			room--
		}
	}
}

// expires returns the time until the TTL of a run ends. soon reports whether it ends before the next sweep. It is false
// for a run without a TTL.
func (r *Reconciler) expires(run *v1alpha1.JobRun, now metav1.Time) (after time.Duration, soon bool) {
	t := decision.Retention{Now: now, Run: run, TTL: r.RunTTL}
	if _, ok := t.TimeToLive(); !ok {
		return 0, false
	}
	t.Seen = r.seenEnded(run, now)
	left, _ := t.TimeToLive()
	return max(left, 0), left <= r.SweepPeriod
}
