// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// orphanPodsPoll is the interval between looks for Pods that outlive their Job. The watch reports the end of a Pod earlier,
// unless a user changed the labels of the Pod.
const orphanPodsPoll = 5 * time.Second

// lossPatience is how long this process must have seen that a Job is gone before it takes the Job's end for lost. The
// last events of the Job may still be on their way to this process.
const lossPatience = 5 * time.Second

// observeExecutions observes the execution of each run that holds a lease or may get one.
func (o *observer) observeExecutions(ctx context.Context) error {
	var jobs batchv1.JobList
	err := o.Client.List(ctx, &jobs, client.InNamespace(o.req.Namespace), client.MatchingFields{cache.FieldJobHome: o.req.home()})
	if err != nil {
		return err
	}
	o.Jobs = controlledJobs(jobs.Items)
	for _, run := range o.Runs {
		if run.IsReceipt() && runkey.Leased(o.KeySpec()) != runkey.IdentityOf(run) {
			continue // A receipt can have a lease only if one controller bound it while another one claimed it.
		}
		e := &decision.Execution{HoldOff: o.sightings.holdOff(run.UID)}
		o.Executions[run.UID] = e
		if run.Status.Phase != v1alpha1.PhaseLeased {
			o.observeUnstoredJob(run, e)
			if err := o.observeClaim(ctx, run, e); err != nil {
				return err
			}
			if err := o.observeUnclaimed(ctx, run, e); err != nil {
				return err
			}
			continue
		}
		if err := o.observeExecution(ctx, run, e); err != nil {
			return err
		}
	}
	return nil
}

// observeClaim observes a claim that the key has granted and that the status does not show yet. It computes how long a
// worker may still store the claim, or how long the lease of a run with a Job may still last.
func (o *observer) observeClaim(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	if runkey.Leased(o.KeySpec()) != runkey.IdentityOf(run) {
		return nil
	}
	if run.RunsAsJob() {
		return o.observeDeadline(ctx, run, o.LeasedGeneration(), e)
	}
	claim := *o.Key.Spec.Leased // A later claim changes fromVersion, so the grace starts again.
	e.ClaimLeft = max(o.ReservationGrace-o.sightings.unchangedFor(claimSubject(run.UID), claim), 0)
	return nil
}

// observeDeadline computes how long the lease of a run under a generation may still last.
func (o *observer) observeDeadline(ctx context.Context, run *v1alpha1.JobRun, generation int64, e *decision.Execution) error {
	if run.Spec.ActiveDeadlineSeconds == 0 {
		return nil
	}
	left := deadlineOf(run) - o.sightings.unchangedFor(deadlineSubject(run.UID), generation)
	e.Overdue, e.DeadlineLeft = left <= 0, max(left, 0)
	if e.Overdue && run.RunsAsJob() {
		return o.observeLateEnd(ctx, run, generation, e)
	}
	return nil
}

// deadlineOf returns the activeDeadlineSeconds of a run. It returns the longest duration if they are more.
func deadlineOf(run *v1alpha1.JobRun) time.Duration {
	const longest = int64(math.MaxInt64 / time.Second)
	return time.Duration(min(run.Spec.ActiveDeadlineSeconds, longest)) * time.Second
}

func (o *observer) observeExecution(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	if run.RunsAsJob() {
		if err := o.observeJob(ctx, run, e); err != nil {
			return err
		}
		if err := o.observeObstacle(ctx, run, e); err != nil {
			return err
		}
	}
	if err := o.observeDeadline(ctx, run, run.LeaseGeneration(), e); err != nil {
		return err
	}
	duration := leaseDuration(run)
	if duration == 0 {
		return nil
	}
	idle, err := o.idle(ctx, run, duration)
	if err != nil {
		return err
	}
	e.Expires, e.Left = true, duration-idle
	if e.Left <= 0 && e.JobLost { // The lease has ended before the end of its Job matters.
		e.JobGone, e.JobLost, e.JobDeleted = true, false, false
	}
	return nil
}

// observeUnstoredJob finds the Job of a claim that the status does not show yet. The Job may be gone already.
func (o *observer) observeUnstoredJob(run *v1alpha1.JobRun, e *decision.Execution) {
	e.Job = o.jobOf(run, o.LeasedGeneration())
	if seen, _ := o.jobs.ofGeneration(run.UID, o.LeasedGeneration()); e.Job == nil && seen.fate == fateEnded {
		e.Job = seen.job
	}
	if e.Job != nil {
		e.Result = o.endOf(run, e.Job)
	}
}

// observeJob finds the Job of a lease. A Job that the cache does not show counts as gone only if live reads show neither
// the Job nor a running Pod of it.
func (o *observer) observeJob(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	e.Job = o.jobOf(run, run.LeaseGeneration())
	switch {
	case e.Job != nil:
		return o.observeEnd(ctx, run, e)
	case run.Status.JobRef != nil:
		return o.observeVanishedJob(ctx, run, e)
	default:
		return nil
	}
}

// observeEnd finds out whether a Job that exists has ended, and whether it did so by itself.
func (o *observer) observeEnd(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	if !executor.IsFinished(e.Job) {
		return nil
	}
	if end := o.endOf(run, e.Job); end != nil {
		return o.observeResult(ctx, run, e, end)
	}
	return o.observeLoss(ctx, run, e, e.Job.UID)
}

// endOf returns the condition with which a Job ended by itself; nil if it has not, or if that is not known. What this
// process saw decides before the times in the Job do.
func (o *observer) endOf(run *v1alpha1.JobRun, job *batchv1.Job) *batchv1.JobCondition {
	switch seen, _ := o.jobs.get(run.UID, job.UID); seen.fate {
	case fateEnded:
		return executor.ResultOf(seen.job)
	case fateLost:
		return nil
	default:
		return executor.OwnEnd(job)
	}
}

// observeLoss observes a lease whose Job is gone, or did not end by itself. The lease lasts while a Pod of the run runs. If
// this process deleted the Job, its end is not lost.
func (o *observer) observeLoss(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution, job types.UID) error {
	running, err := o.runningPods(ctx, run.Namespace, runkey.IdentityOf(run))
	if err != nil {
		return err
	}
	if running {
		o.RecheckIn(orphanPodsPoll)
		return nil
	}
	if o.sightings.wasStopped(job) {
		e.JobGone = true
		return nil
	}
	if seen, _ := o.jobs.get(run.UID, job); seen.fate == fateLost {
		e.JobLost, e.JobDeleted = true, true
		return nil
	}
	left := lossPatience - o.sightings.unchangedFor(lossSubject(run.UID), job)
	if e.JobLost = left <= 0; !e.JobLost {
		o.RecheckIn(left)
	}
	return nil
}

// observeLateEnd reads the Job of an overdue run live, unless the cache shows that it has finished. If it has finished
// meanwhile, its own result counts.
func (o *observer) observeLateEnd(ctx context.Context, run *v1alpha1.JobRun, generation int64, e *decision.Execution) error {
	if e.Result != nil {
		return nil
	}
	name := types.NamespacedName{Namespace: run.Namespace, Name: executor.JobName(run, generation)}
	live := &batchv1.Job{}
	switch err := o.Live.Get(ctx, name, live); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read Job %s: %w", name, err)
	case !metav1.IsControlledBy(live, run), e.Job != nil && live.UID != e.Job.UID:
		return nil
	}
	o.noteLive(live)
	if end := o.endOf(run, live); end != nil {
		e.Job = live
		return o.observeResult(ctx, run, e, end)
	}
	return nil
}

// jobOf returns the Job of a run for a generation; nil if the cache shows none.
func (o *observer) jobOf(run *v1alpha1.JobRun, generation int64) *batchv1.Job {
	for _, job := range o.Jobs {
		executes := executor.IdentityOf(job) == runkey.IdentityOf(run) || metav1.IsControlledBy(job, run)
		if executes && executor.GenerationOf(job) == generation {
			return job
		}
	}
	return nil
}

// noteLive records what a live read shows of a Job that is not being deleted. The cache may never show this.
func (o *observer) noteLive(job *batchv1.Job) {
	if job.DeletionTimestamp != nil {
		return
	}
	o.jobs.exists(job)
	if executor.IsFinished(job) {
		o.jobs.ended(job)
	}
}

// observeVanishedJob observes the Job of a lease that the cache does not show.
func (o *observer) observeVanishedJob(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	if seen, _ := o.jobs.get(run.UID, run.Status.JobRef.UID); seen.fate == fateEnded {
		e.Job = seen.job
		return o.observeEnd(ctx, run, e)
	}
	name := types.NamespacedName{Namespace: run.Namespace, Name: run.Status.JobRef.Name}
	job := &batchv1.Job{}
	switch err := o.Live.Get(ctx, name, job); {
	case err == nil && job.UID == run.Status.JobRef.UID:
		// The cache lags, or a user removed the labels of the Job.
		e.Job = job
		o.noteLive(job)
		if !executor.IsFinished(job) {
			o.RecheckIn(orphanPodsPoll)
		}
		return o.observeEnd(ctx, run, e)
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read Job %s: %w", name, err)
	}
	return o.observeLoss(ctx, run, e, run.Status.JobRef.UID)
}

// runningPods reports whether a live read shows a non-terminal Pod of a run.
func (r *Reconciler) runningPods(ctx context.Context, namespace string, id runkey.Identity) (bool, error) {
	var pods corev1.PodList
	if err := r.Live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelRun: id.RunName}); err != nil {
		return false, fmt.Errorf("list the Pods of run %s/%s: %w", namespace, id.RunName, err)
	}
	for i := range pods.Items {
		if pods.Items[i].Annotations[v1alpha1.AnnotationToken] == id.Token && !executor.IsPodOver(&pods.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}

// observeResult reads the termination message of a Job that ended by itself, or what failed in the Pods of a failed one.
func (o *observer) observeResult(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution, end *batchv1.JobCondition) error {
	e.Result = end
	pods, err := o.endedPods(ctx, run, e.Job)
	if err != nil {
		return err
	}
	own := executor.ResultContainer(run, e.Job)
	if end.Type == batchv1.JobComplete {
		e.Output, e.OutputLost = executor.OutputOf(pods, own), !executor.HasOutput(run, e.Job, pods)
	} else {
		e.Failure = executor.FailureOf(pods, own)
	}
	return nil
}

// observeReceipts lists the receipts of a run: the unbound ones that were answered with it, and those bound to it.
func (r *Reconciler) observeReceipts(ctx context.Context, run *v1alpha1.JobRun) (unbound, bound []*v1alpha1.JobRun, err error) {
	unbound, err = r.list(ctx, run.Namespace, cache.FieldAbsorber, cache.AbsorberToken(runkey.IdentityOf(run).Token))
	if err != nil {
		return nil, nil, err
	}
	bound, err = r.list(ctx, run.Namespace, cache.FieldAbsorber, cache.AbsorberUID(string(run.UID)))
	return unbound, bound, err
}
