// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// reconcileJob deletes a finished Job when its TTL is over.
func (r *Reconciler) reconcileJob(ctx context.Context, req Request) (time.Duration, error) {
	job := &batchv1.Job{}
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.Job}, job); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	t, err := r.observeJobRetention(ctx, job)
	if err != nil || t == nil {
		return 0, err
	}
	plan := decision.DecideJobRetention(*t)
	return plan.After, r.carryOut(ctx, req, plan)
}

// observeJobRetention returns what the decision about a Job needs; nil if the cache does not show the run that owns the Job.
// It begins to watch the lease of the Job only shortly before the TTL ends, so it remembers few Jobs.
func (r *Reconciler) observeJobRetention(ctx context.Context, job *batchv1.Job) (*decision.JobRetention, error) {
	run, err := r.ownerOf(ctx, job)
	if run == nil {
		return nil, err
	}
	t := r.jobRetention(job, run)
	if left, ok := t.TimeToLive(); !ok || left > r.SweepPeriod {
		return t, nil
	}
	isLeased, err := r.hasPlace(ctx, run)
	switch {
	case err != nil:
		return nil, err
	case isLeased:
		r.sightings.forget(unlockSubject(job.UID))
	default:
		t.Unlocked = r.sightings.unchangedFor(unlockSubject(job.UID), true)
	}
	return t, nil
}

func (r *Reconciler) jobRetention(job *batchv1.Job, run *v1alpha1.JobRun) *decision.JobRetention {
	return &decision.JobRetention{Now: metav1.NewTime(r.Clock.Now()), Job: job, Run: run, TTL: r.JobTTL, Sweep: r.SweepPeriod}
}

// ownerOf returns the JobRun that owns a Job; nil if the cache does not show it.
func (r *Reconciler) ownerOf(ctx context.Context, job *batchv1.Job) (*v1alpha1.JobRun, error) {
	if !executor.ExecutesRun(job) {
		return nil, nil
	}
	run := &v1alpha1.JobRun{}
	name := types.NamespacedName{Namespace: job.Namespace, Name: job.Labels[v1alpha1.LabelRun]}
	if err := r.Client.Get(ctx, name, run, client.UnsafeDisableDeepCopy); err != nil || !metav1.IsControlledBy(job, run) {
		return nil, client.IgnoreNotFound(err)
	}
	return run, nil
}

// hasPlace reports whether the cached key of a run names the run. A key that does not show the claim yet names it, too.
func (r *Reconciler) hasPlace(ctx context.Context, run *v1alpha1.JobRun) (bool, error) {
	if run.Spec.ConcurrencyKey == "" {
		return false, nil
	}
	key, err := r.Keys.Cached(ctx, types.NamespacedName{Namespace: run.Namespace, Name: runkey.Home(run)})
	if err != nil || key == nil {
		return false, err
	}
	id := runkey.IdentityOf(run)
	return runkey.Leased(&key.Spec) == id || runkey.Pending(&key.Spec) == id, nil
}

// expiresJob returns the time until the TTL of a Job ends. soon reports whether it ends before the next sweep. It is false for
// a Job without a TTL.
func (r *Reconciler) expiresJob(ctx context.Context, job *batchv1.Job) (after time.Duration, soon bool) {
	run, err := r.ownerOf(ctx, job)
	if err != nil || run == nil || !r.ownsRun(run) {
		return 0, false
	}
	left, ok := r.jobRetention(job, run).TimeToLive()
	return max(left, 0), ok && left <= r.SweepPeriod
}
