// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

const (
	// obstacleDelay is how long a run must not get on before its status says so. Most obstacles pass in this time, for
	// example the moment in which a queueing system admits the Job.
	obstacleDelay = 3 * time.Second
	// retellDelay is the least time between two texts about one run. It bounds the writes of a text that changes all the
	// time.
	retellDelay = 10 * time.Second
	// unclaimedDelay is how long a run waits for a worker before its status says so.
	unclaimedDelay = 30 * time.Second
	// unclaimedRecheckMax bounds the interval between looks for a worker that holds another run of the same jobName.
	unclaimedRecheckMax = 10 * time.Minute
)

// involvedObjectUID is a field selector of the API server for Events.
const involvedObjectUID = "involvedObject.uid"

// observeObstacle finds out why the Job of a run does not get on.
func (o *observer) observeObstacle(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	job := e.Job
	if job == nil || executor.IsFinished(job) || job.DeletionTimestamp != nil {
		return nil
	}
	pods, err := o.cachedPods(ctx, job)
	if err != nil {
		return err
	}
	obstacle := executor.ObstacleOf(job, pods)
	if obstacle == "" && len(pods) == 0 {
		o.observePodless(ctx, run, e)
		return nil
	}
	o.sightings.forget(podlessSubject(run.UID), eventsSubject(run.UID))
	if obstacle == "" {
		o.sightings.forget(obstacleSubject(run.UID))
		e.Obstacle = &obstacle
		return nil
	}
	if seen := o.sightings.unchangedFor(obstacleSubject(run.UID), true); seen < obstacleDelay {
		o.RecheckIn(obstacleDelay - seen)
		return nil
	}
	o.tell(run, e, obstacle)
	return nil
}

// tell sets the obstacle of a run, unless the status got or lost another text a moment ago.
func (o *observer) tell(run *v1alpha1.JobRun, e *decision.Execution, obstacle string) {
	subject := toldSubject(run.UID)
	if told := run.Status.Error; told != "" || o.sightings.knows(subject) {
		if seen := o.sightings.unchangedFor(subject, told); seen < retellDelay {
			o.RecheckIn(retellDelay - seen)
			return
		}
	}
	e.Obstacle = &obstacle
}

// observePodless reads why a Job has no Pods. Only an Event of the Job controller tells. The controller does not watch
// Events, so it reads them live: once when it has seen the Job without Pods for a while, then again after longer and
// longer intervals.
func (o *observer) observePodless(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) {
	if seen := o.sightings.unchangedFor(podlessSubject(run.UID), e.Job.UID); seen < obstacleDelay {
		o.RecheckIn(obstacleDelay - seen)
		return
	}
	known, left := o.sightings.lastEvents(run.UID, e.Job.UID)
	if left == 0 {
		obstacle, err := o.readEvents(ctx, e.Job)
		if err != nil { // A user may have taken this right away. The run goes on without the text.
			log.FromContext(ctx).Info("Could not read why a Job has no Pods", "job", e.Job.Name, "error", err.Error())
		}
		known = eventsRead{job: e.Job.UID, obstacle: obstacle, failed: err != nil}
		left = o.sightings.noteEvents(run.UID, known)
	}
	o.RecheckIn(left)
	if !known.failed {
		o.tell(run, e, known.obstacle)
	}
}

// readEvents reads the Events about a Job live, and returns why it has no Pods; empty if no Event tells.
func (r *Reconciler) readEvents(ctx context.Context, job *batchv1.Job) (string, error) {
	var events corev1.EventList
	err := r.Live.List(ctx, &events, client.InNamespace(job.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(involvedObjectUID, string(job.UID))})
	return executor.RefusedPodsOf(job, events.Items), err
}

// observeUnclaimed finds out whether a run without a template has waited for a worker for long. It has not if a worker
// holds another run of its jobName, because that worker may take it next.
func (o *observer) observeUnclaimed(ctx context.Context, run *v1alpha1.JobRun, e *decision.Execution) error {
	if run.RunsAsJob() || run.Status.Phase != v1alpha1.PhasePending {
		return nil
	}
	subject, key := unclaimedSubject(run.UID), o.KeySpec()
	if o.Keyed && (runkey.Leased(key) != (runkey.Identity{}) || runkey.Pending(key) != runkey.IdentityOf(run)) {
		o.sightings.forget(subject) // It cannot be claimed now.
		return nil
	}
	waited := o.sightings.unchangedFor(subject, run.LeaseGeneration())
	if waited < unclaimedDelay {
		o.RecheckIn(unclaimedDelay - waited)
		return nil
	}
	busy, err := o.hasWorker(ctx, run.Spec.JobName)
	switch {
	case err != nil:
		return err
	case busy:
		o.RecheckIn(min(waited, unclaimedRecheckMax))
	default:
		e.UnclaimedFor = unclaimedDelay
	}
	return nil
}

// hasWorker reports whether a worker holds a run of a jobName.
func (o *observer) hasWorker(ctx context.Context, jobName string) (bool, error) {
	held, err := o.list(ctx, o.req.Namespace, cache.FieldHeldByWorker, jobName)
	return len(held) > 0, err
}
