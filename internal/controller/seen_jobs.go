// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// fate is what this process knows about the end of a Job.
type fate int

const (
	// fateOpen is the fate of a Job that this process created, and did not see go.
	fateOpen fate = iota
	// fateEnded is the fate of a Job that ended by itself, before its deletion began.
	fateEnded
	// fateLost is the fate of a Job that was deleted before this process saw it end. No later event can tell more.
	fateLost
)

// seenJob is a Job that this process remembers, because the cache may show it no longer.
type seenJob struct {
	// job has the identity of the Job and, if it ended by itself, the condition that ended it.
	job  *batchv1.Job
	fate fate
	// since is when this process began to remember the Job.
	since time.Time
}

// seenJobs remembers the Jobs that this process created, and those whose deletion it saw, until the outcome of their run
// is stored. Every replica has it, because the next owner of a home may be the only process that saw how a Job ended. A Job that
// exists and is not being deleted needs no memory: the cache has it.
//
// A run is known by its UID, which is the UID of the Job's owner, and a Job by its own UID.
type seenJobs struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// ofRun holds the Jobs by the UID of their run, and then by their own.
	ofRun map[types.UID]map[types.UID]seenJob
}

func newSeenJobs(c clock.PassiveClock) *seenJobs {
	return &seenJobs{clock: c, ofRun: map[types.UID]map[types.UID]seenJob{}}
}

// changed records one event of the watch. before is nil for a new Job, and after is nil for a deleted one. For a deleted
// Job, before is the last state that the watch shows. The order of the events decides whether the end or the deletion came
// first. The times in a Job decide only if one event shows both.
func (s *seenJobs) changed(before, after *batchv1.Job) {
	switch {
	case before != nil && after == nil:
		s.depart(before, executor.OwnEnd(before) != nil)
	case before != nil && after.UID != before.UID:
		s.missed(before)
		s.changed(nil, after)
	case after == nil || after.DeletionTimestamp == nil:
	case before != nil && before.DeletionTimestamp == nil && executor.IsFinished(before):
		s.depart(before, true)
	default:
		s.depart(after, executor.OwnEnd(after) != nil)
	}
}

// missed records that a list did not show a Job any more. job is the last state that this process saw. What came after it is
// lost, also whether the Job ended before its deletion.
func (s *seenJobs) missed(job *batchv1.Job) {
	if job.DeletionTimestamp == nil && !executor.IsFinished(job) {
		s.remember(job, fateOpen)
		return
	}
	s.depart(job, executor.OwnEnd(job) != nil)
}

// depart records that a Job goes or is gone. The first record of that decides.
func (s *seenJobs) depart(job *batchv1.Job, ended bool) {
	known := fateLost
	if ended {
		known = fateEnded
	}
	s.remember(job, known)
}

// created records a Job that this process created.
func (s *seenJobs) created(job *batchv1.Job) { s.remember(job, fateOpen) }

// ended records that a live read showed the end of a Job that is not being deleted.
func (s *seenJobs) ended(job *batchv1.Job) { s.remember(job, fateEnded) }

// exists records that a live read showed a Job that is not being deleted. If the watch told of its deletion, a user removed its
// labels: for a watch of labelled Jobs, that is the same.
func (s *seenJobs) exists(job *batchv1.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := metav1.GetControllerOf(job)
	if owner == nil {
		return
	}
	if seen, known := s.ofRun[owner.UID][job.UID]; known && seen.fate == fateLost {
		seen.fate = fateOpen
		s.ofRun[owner.UID][job.UID] = seen
	}
}

// remember records a Job, unless its fate is known already.
func (s *seenJobs) remember(job *batchv1.Job, known fate) {
	owner := metav1.GetControllerOf(job)
	if !executor.ExecutesRun(job) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.ofRun[owner.UID]
	if jobs == nil {
		jobs = map[types.UID]seenJob{}
		s.ofRun[owner.UID] = jobs
	}
	if old, ok := jobs[job.UID]; ok && old.fate != fateOpen {
		return
	}
	jobs[job.UID] = seenJob{job: brief(job), fate: known, since: s.clock.Now()}
}

// brief returns the fields of a Job that the controller needs after the Job is gone.
func brief(job *batchv1.Job) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: job.Name, UID: job.UID, OwnerReferences: job.OwnerReferences,
			Labels:      map[string]string{v1alpha1.LabelRun: job.Labels[v1alpha1.LabelRun]},
			Annotations: map[string]string{v1alpha1.AnnotationToken: job.Annotations[v1alpha1.AnnotationToken]},
		},
		Status: batchv1.JobStatus{Conditions: job.Status.Conditions, Succeeded: job.Status.Succeeded, Failed: job.Status.Failed},
	}
}

// get returns what this process knows about a Job of a run.
func (s *seenJobs) get(run, job types.UID) (seen seenJob, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, known = s.ofRun[run][job]
	return seen, known
}

// ofGeneration returns the Job that this process remembers for a generation of a run. There may be two if a user deleted
// the first one: then it is the one that ended by itself.
func (s *seenJobs) ofGeneration(run types.UID, generation int64) (found seenJob, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.ofRun[run] {
		if executor.GenerationOf(seen.job) == generation && (!known || seen.fate == fateEnded) {
			found, known = seen, true
		}
	}
	return found, known
}

// forget drops the Jobs of a run.
func (s *seenJobs) forget(run types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ofRun, run)
}

// remembered returns one Job of each run.
func (s *seenJobs) remembered() map[types.UID]seenJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[types.UID]seenJob, len(s.ofRun))
	for run, jobs := range s.ofRun {
		for _, seen := range jobs {
			if first, ok := all[run]; !ok || seen.since.After(first.since) {
				all[run] = seen
			}
		}
	}
	return all
}

// SeeJob records one event of the watch of Jobs: see seenJobs. Call it on every replica.
func (r *Reconciler) SeeJob(before, after *batchv1.Job) { r.jobs.changed(before, after) }

// jobWatch feeds seenJobs from the informer of Jobs that the manager's cache shares. It runs on every replica.
type jobWatch struct {
	*Reconciler
	informers ctrlcache.Informers
}

var (
	_ manager.Runnable               = jobWatch{}
	_ manager.LeaderElectionRunnable = jobWatch{}
)

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (jobWatch) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (w jobWatch) Start(ctx context.Context) error {
	informer, err := w.informers.GetInformer(ctx, &batchv1.Job{}, ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch how Jobs end: %w", err)
	}
	if _, err := informer.AddEventHandler(w.handler()); err != nil {
		return fmt.Errorf("watch how Jobs end: %w", err)
	}
	wait.UntilWithContext(ctx, w.forgetJobs, w.SweepPeriod)
	return nil
}

func (w jobWatch) handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { w.SeeJob(nil, jobIn(object)) },
		UpdateFunc: func(before, after any) { w.SeeJob(jobIn(before), jobIn(after)) },
		DeleteFunc: func(object any) {
			missing, ok := object.(toolscache.DeletedFinalStateUnknown)
			if !ok {
				w.SeeJob(jobIn(object), nil)
			} else if job := jobIn(missing.Obj); job != nil {
				w.jobs.missed(job)
			}
		},
	}
}

// jobIn returns the Job of an event.
func jobIn(object any) *batchv1.Job {
	job, _ := object.(*batchv1.Job)
	return job
}

// forgetJobs drops the Jobs of runs that have ended or are gone. A run that the cache does not show may be too new for
// the cache, so its Jobs stay for one period.
func (r *Reconciler) forgetJobs(ctx context.Context) {
	for uid, seen := range r.jobs.remembered() {
		run := &v1alpha1.JobRun{}
		name := types.NamespacedName{Namespace: seen.job.Namespace, Name: seen.job.Labels[v1alpha1.LabelRun]}
		err := r.Client.Get(ctx, name, run)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return // The process is about to stop.
		case err == nil && run.UID == uid && !run.HasEnded():
		case err == nil && run.UID == uid, r.Clock.Since(seen.since) >= r.SweepPeriod:
			r.jobs.forget(uid)
		}
	}
}
