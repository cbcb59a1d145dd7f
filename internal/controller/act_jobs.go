// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// predecessorPoll is the interval between looks for the Job of an earlier run of the same name, until it is gone.
const predecessorPoll = time.Second

// createJob creates the Job of a run for a generation. The name of the Job is a lock: an existing Job of that name is
// the same one if the run owns it.
//
// The fence, a webhook, refuses the Job with a 409 if its run is no longer leased under the generation. That is no refusal
// of the Job: the controller observes again.
//
// createJob creates no second Job for a generation whose Job this process knows, even if that Job is gone or goes before
// the create arrives. The status then names that Job, and the next decision is about its end.
func (a *action) createJob(ctx context.Context, op decision.CreateJob) error {
	switch known, err := a.knownJob(ctx, op); {
	case err != nil:
		return err
	case known != nil:
		a.sightings.accepted(op.Run.UID)
		a.job = known
		return nil
	}
	run := op.Run
	job, err := a.newJob(op)
	if err != nil {
		return err
	}
	err = a.Client.Create(ctx, job)
	switch {
	case apierrors.IsAlreadyExists(err):
		return a.adoptJob(ctx, run, job.Name)
	case isFenced(err): // The run is not leased under this generation any more.
		return fmt.Errorf("%w: Job %s/%s: %w", errStale, job.Namespace, job.Name, err)
	case namesField(err), isTooLarge(err):
		return &refusedError{run: run.UID, refusal: decision.Refusal{Final: true, Message: err.Error()}}
	case err != nil:
		holdOff := a.sightings.refused(run.UID)
		if isOverQuota(err) {
			a.sightings.block(run.UID, homeRequest(run))
		}
		return &refusedError{run: run.UID, refusal: decision.Refusal{Message: err.Error()}, holdOff: holdOff}
	}
	a.sightings.accepted(run.UID)
	a.jobs.created(job)
	a.job = job
	a.journal.note("Job %s: created", job.Name)
	return nil
}

// newJob makes the Job of a run from its own template, or else from that of its definition as it is now. If the definition
// gives none, that is a refusal that may pass: the run is leased already.
func (a *action) newJob(op decision.CreateJob) (*batchv1.Job, error) {
	if !op.Run.NeedsDefinition() {
		return executor.NewJob(op.Run, op.Generation, op.KeyVersion), nil
	}
	if problem := executor.TemplateProblem(a.s.Definition, op.Run); problem != "" {
		refusal := decision.Refusal{Message: problem}
		return nil, &refusedError{run: op.Run.UID, refusal: refusal, holdOff: a.sightings.refused(op.Run.UID)}
	}
	return executor.NewDefinedJob(op.Run, a.s.Definition, op.Generation, op.KeyVersion), nil
}

// knownJob returns the Job of a generation that the cache shows, or that this process remembers; nil if there is none. It
// looks at the cache first, because this process remembers a Job when it leaves the cache. The informer reports a deletion
// right after the cache shows it, so a gap of milliseconds is left.
func (a *action) knownJob(ctx context.Context, op decision.CreateJob) (*batchv1.Job, error) {
	cached := &batchv1.Job{}
	name := client.ObjectKey{Namespace: op.Run.Namespace, Name: executor.JobName(op.Run, op.Generation)}
	switch err := a.Client.Get(ctx, name, cached); {
	case err == nil && metav1.IsControlledBy(cached, op.Run):
		return cached, nil
	case client.IgnoreNotFound(err) != nil:
		return nil, err
	}
	seen, _ := a.jobs.ofGeneration(op.Run.UID, op.Generation)
	return seen.job, nil
}

// isFenced reports whether the fence refused a Job, and not another webhook.
func isFenced(err error) bool {
	return apierrors.IsConflict(err) && strings.Contains(err.Error(), executor.FenceName)
}

// namesField reports whether the API server refused an object for one of its fields. Policies and other webhooks
// answer with the same code but name no field. Their refusal is not final, because a user may repair them.
func namesField(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool { return cause.Field != "" })
}

// adoptJob takes over the existing Job of that name if the run owns it. It deletes the Job of an earlier run of the same
// name, but only while a live read shows that the run of that name is this one. Otherwise this run is gone, and the Job
// may belong to a later run of the same name.
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
	case executor.IsJobRun(owner) && owner.Name == run.Name && executor.IdentityOf(job) != runkey.IdentityOf(run):
		if err := a.checkExists(ctx, run); err != nil {
			return err
		}
		if err := a.deleteJob(ctx, job); err != nil {
			return err
		}
		return &waitingError{what: fmt.Sprintf("Job %s/%s of an earlier run", run.Namespace, name), poll: predecessorPoll}
	default:
		message := fmt.Sprintf("Job %s exists and does not belong to this run", name)
		return &refusedError{run: run.UID, refusal: decision.Refusal{Final: true, Message: message}}
	}
}

// checkExists requires that a live read shows the run, in any version.
func (a *action) checkExists(ctx context.Context, run *v1alpha1.JobRun) error {
	live := &v1alpha1.JobRun{}
	err := a.Live.Get(ctx, client.ObjectKeyFromObject(run), live)
	switch {
	case apierrors.IsNotFound(err) || (err == nil && (live.UID != run.UID || runkey.IdentityOf(live) != runkey.IdentityOf(run))):
		return fmt.Errorf("%w: JobRun %s/%s is gone", errStale, run.Namespace, run.Name)
	case err != nil:
		return fmt.Errorf("read JobRun %s/%s: %w", run.Namespace, run.Name, err)
	default:
		return nil
	}
}

// confirmLoss requires that this process still does not know that the Job of a run ended by itself. It asks nobody, so
// it is as late as a check before a write can be.
func (a *action) confirmLoss(run *v1alpha1.JobRun) error {
	if run.Status.JobRef == nil {
		return nil
	}
	if seen, _ := a.jobs.get(run.UID, run.Status.JobRef.UID); seen.fate == fateEnded {
		return fmt.Errorf("%w: Job %s/%s has ended", errStale, run.Namespace, run.Status.JobRef.Name)
	}
	return nil
}

// stopStrays requires that no Job of the home executes before a run is claimed.
func (a *action) stopStrays(ctx context.Context) error {
	selector := client.MatchingLabels{v1alpha1.LabelRun: a.req.Run}
	if a.req.RunKey != "" {
		selector = client.MatchingLabels{v1alpha1.LabelKey: a.req.RunKey}
	}
	jobs, err := a.liveJobs(ctx, selector)
	if err != nil {
		return err
	}
	strays := slices.DeleteFunc(jobs, func(job *batchv1.Job) bool { return executor.IsFinished(job) || a.isNext(job) })
	return a.stopJobs(ctx, strays, func() error { return a.checkUnclaimed(ctx) })
}

// checkUnclaimed requires that no run was claimed since the decision.
func (a *action) checkUnclaimed(ctx context.Context) error {
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

// stopJobs deletes Jobs and returns a waitingError until they are gone. It calls check first. If a Job belongs to a lease
// that is newer than the decision, check finds the newer version of the key or of the run.
func (a *action) stopJobs(ctx context.Context, jobs []*batchv1.Job, check func() error) error {
	if len(jobs) == 0 {
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	for _, job := range jobs {
		if err := a.deleteJob(ctx, job); err != nil {
			return err
		}
	}
	return &waitingError{what: "the Jobs of run " + jobs[0].Labels[v1alpha1.LabelRun]}
}

// isNext reports whether a Job belongs to a run without a key whose claim is not stored yet. Such a claim creates its Job
// before it writes the status.
func (a *action) isNext(job *batchv1.Job) bool { return !a.s.Keyed && !a.s.IsStray(job) }

// stopRun requires that no Job and no Pod of a run executes.
func (a *action) stopRun(ctx context.Context, op decision.StopRun) error {
	last := executor.NameOfJob(op.Run.RunName, op.Generation)
	hasFinished := false
	a.finished = false // An earlier StopRun of the plan may have seen more.
	var unfinished []*batchv1.Job
	for _, name := range a.jobNames(op.Run, last) {
		job, err := a.liveJob(ctx, name)
		switch {
		case err != nil:
			return err
		case job == nil, a.s.JobIdentity(job).Token != op.Run.Token:
		case !executor.IsFinished(job):
			unfinished = append(unfinished, job)
		case name == last:
			hasFinished = true
			a.finished = job.DeletionTimestamp == nil
		}
	}
	if err := a.stopJobs(ctx, unfinished, func() error { return a.checkUnchanged(ctx, op.Run) }); err != nil {
		return err
	}
	if hasFinished {
		return nil // The Job controller finishes a Job only after its Pods have ended.
	}
	return a.checkPods(ctx, op.Run)
}

// jobNames returns the names of the Jobs of a run that may execute: the last one, those that the key notes, and those that
// the cache shows unfinished.
func (a *action) jobNames(run runkey.Identity, last string) []string {
	names := []string{last}
	if a.key != nil {
		for _, noted := range a.key.Spec.Unconfirmed {
			if noted.Token == run.Token {
				names = append(names, noted.Job)
			}
		}
	}
	for _, job := range a.s.Jobs {
		if a.s.JobIdentity(job).Token == run.Token && !executor.IsFinished(job) {
			names = append(names, job.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// liveJob returns the Job of that name that executes a run; nil if a live read does not show one.
func (a *action) liveJob(ctx context.Context, name string) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: a.req.Namespace, Name: name}, job)
	switch {
	case apierrors.IsNotFound(err), err == nil && !executor.ExecutesRun(job):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Job %s/%s: %w", a.req.Namespace, name, err)
	default:
		return job, nil
	}
}

// checkUnconfirmed requires that live reads show none of these Jobs unfinished.
func (a *action) checkUnconfirmed(ctx context.Context, noted []v1alpha1.UnconfirmedJob) error {
	unfinished, err := a.Keys.Unfinished(ctx, a.req.Namespace, noted)
	if err != nil {
		return err
	}
	err = a.stopJobs(ctx, unfinished, func() error { return a.checkKey(ctx) })
	var waiting *waitingError
	if errors.As(err, &waiting) {
		waiting.poll = orphanPodsPoll // If a user removed the labels of the Job, no event of it reaches the key.
	}
	return err
}

// checkUnchanged requires that neither the key nor the run has changed since the decision.
func (a *action) checkUnchanged(ctx context.Context, id runkey.Identity) error {
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

// deleteJob deletes a Job in the foreground, so the Job disappears only after its Pods.
func (a *action) deleteJob(ctx context.Context, job *batchv1.Job) error {
	if job.DeletionTimestamp != nil {
		return nil
	}
	if !executor.IsFinished(job) {
		a.sightings.noteStopped(job.UID) // The answer may get lost.
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
