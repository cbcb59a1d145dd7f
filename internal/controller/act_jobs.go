// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// predecessorPoll is how often to look whether the Job of an earlier run of the
// same name is gone.
const predecessorPoll = time.Second

// createJob creates the Job of a run for a generation. The name is a lock: a
// Job that is there already is the same one if the run owns it.
func (a *action) createJob(ctx context.Context, op decision.CreateJob) error {
	run, job := op.Run, executor.NewJob(op.Run, op.Generation, op.KeyVersion)
	err := a.Client.Create(ctx, job)
	switch {
	case apierrors.IsAlreadyExists(err):
		return a.adoptJob(ctx, run, job.Name)
	case namesField(err), isTooLarge(err):
		return &refusedError{run: run.UID, refusal: decision.Refusal{Final: true, Message: err.Error()}}
	case err != nil:
		return &refusedError{run: run.UID, refusal: decision.Refusal{Message: err.Error()}, holdOff: a.sightings.refused(run.UID)}
	}
	a.sightings.accepted(run.UID)
	a.job = job
	a.journal.note("Job %s: created", job.Name)
	return nil
}

// namesField reports whether an object is refused for what it is. Policies and other
// webhooks refuse with the same codes, but name no field: they may be repaired.
func namesField(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool { return cause.Field != "" })
}

// adoptJob takes a Job of the right name that is there already.
func (a *action) adoptJob(ctx context.Context, run *v1alpha1.JobRun, name string) error {
	job := &batchv1.Job{}
	if err := a.Live.Get(ctx, client.ObjectKey{Namespace: run.Namespace, Name: name}, job); err != nil {
		return fmt.Errorf("read Job %s/%s: %w", run.Namespace, name, err)
	}
	owner := metav1.GetControllerOf(job)
	switch {
	case owner != nil && owner.UID == run.UID:
		a.sightings.accepted(run.UID)
		a.job = job
		return nil
	case executor.IsJobRun(owner) && owner.Name == run.Name:
		// Left by an earlier run of the same name, which is gone.
		if err := a.deleteJob(ctx, job); err != nil {
			return err
		}
		return &waitingError{what: fmt.Sprintf("Job %s/%s of an earlier run", run.Namespace, name), poll: predecessorPoll}
	default:
		message := fmt.Sprintf("Job %s exists and does not belong to this run", name)
		return &refusedError{run: run.UID, refusal: decision.Refusal{Final: true, Message: message}}
	}
}

// stopStrays requires that nothing of the home executes before somebody is let in.
func (a *action) stopStrays(ctx context.Context) error {
	selector := client.MatchingLabels{v1alpha1.LabelRun: a.req.Run}
	if a.req.RunKey != "" {
		selector = client.MatchingLabels{v1alpha1.LabelKey: a.req.RunKey}
	}
	jobs, err := a.liveJobs(ctx, selector)
	if err != nil {
		return err
	}
	var strays []*batchv1.Job
	for _, job := range jobs {
		if !executor.IsFinished(job) && !a.isNext(job) {
			strays = append(strays, job)
		}
	}
	return a.end(ctx, strays, func() error { return a.unclaimed(ctx) })
}

// unclaimed requires that nobody was let in since the decision.
func (a *action) unclaimed(ctx context.Context) error {
	if a.s.Keyed {
		return a.checkKey(ctx)
	}
	for _, run := range a.s.Runs {
		if err := a.checkRun(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// end deletes Jobs and waits for them. current is asked first: a
// Job that was created since the decision may be one that was leased since, and
// such a lease shows in a newer version.
func (a *action) end(ctx context.Context, jobs []*batchv1.Job, current func() error) error {
	if len(jobs) == 0 {
		return nil
	}
	if err := current(); err != nil {
		return err
	}
	for _, job := range jobs {
		if err := a.deleteJob(ctx, job); err != nil {
			return err
		}
	}
	return &waitingError{what: "the Jobs of run " + jobs[0].Labels[v1alpha1.LabelRun]}
}

// isNext reports whether a Job is that of a claim of a run without key which is
// not stored yet: such a Job is created first.
func (a *action) isNext(job *batchv1.Job) bool { return !a.s.Keyed && !a.s.IsStray(job) }

// stopRun requires that nothing of a run executes.
func (a *action) stopRun(ctx context.Context, op decision.StopRun) error {
	jobs, err := a.liveJobs(ctx, client.MatchingLabels{v1alpha1.LabelRun: op.Run.RunName})
	if err != nil {
		return err
	}
	finished := false
	var unfinished []*batchv1.Job
	for _, job := range jobs {
		if a.s.JobIdentity(job).Token != op.Run.Token {
			continue
		}
		if executor.IsFinished(job) {
			finished = finished || executor.GenerationOf(job) == op.Generation
			continue
		}
		unfinished = append(unfinished, job)
	}
	if err := a.end(ctx, unfinished, func() error { return a.current(ctx, op.Run) }); err != nil {
		return err
	}
	if finished {
		return nil // The Job controller ends a Job only when its Pods have ended.
	}
	return a.checkPods(ctx, op.Run)
}

// current requires that neither the key nor the run has changed since the decision.
func (a *action) current(ctx context.Context, id runkey.Identity) error {
	if err := a.checkKey(ctx); err != nil {
		return err
	}
	if run := a.s.Run(id); run != nil && !a.latest(run).HasOutcome() {
		return a.checkRun(ctx, run)
	}
	return nil
}

func (a *action) checkPods(ctx context.Context, run runkey.Identity) error {
	running, err := a.runningPods(ctx, a.req.Namespace, run)
	if err != nil {
		return err
	}
	if running {
		return &waitingError{what: "the Pods of run " + run.RunName, poll: orphanPodsPoll}
	}
	return nil
}

func (a *action) liveJobs(ctx context.Context, selector client.MatchingLabels) ([]*batchv1.Job, error) {
	var jobs batchv1.JobList
	if err := a.Live.List(ctx, &jobs, client.InNamespace(a.req.Namespace), selector); err != nil {
		return nil, fmt.Errorf("list Jobs: %w", err)
	}
	return controlledJobs(jobs.Items), nil
}

// deleteJob deletes a Job with its Pods: it is seen gone only after them.
func (a *action) deleteJob(ctx context.Context, job *batchv1.Job) error {
	if job.DeletionTimestamp != nil {
		return nil
	}
	err := a.Client.Delete(ctx, job.DeepCopy(),
		client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if err == nil {
		a.journal.note("Job %s: deleted", job.Name)
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("delete Job %s/%s: %w", job.Namespace, job.Name, err)
}
