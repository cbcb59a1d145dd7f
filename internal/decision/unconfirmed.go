// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file keeps the notes about Jobs that may still appear after their lease was given up (P6): spec.unconfirmed of a
// RunKey.

// JobLock is how long the finished Job of a run must stay after its lease. As long as it is there, its name is a lock:
// the API server stores no other Job of that name. A create that passed the fence is over long before.
const JobLock = time.Minute

// giveUp replaces the key with next, in which the lease of a run has ended. If the run has a Job, and the plan did not see
// live that this Job has finished, the same swap notes it. A Job that goes with its JobRun soon is noted in any case.
func (s *Snapshot) giveUp(next *v1alpha1.RunKeySpec, run runkey.Identity, generation int64, runsAsJob bool) SwapKey {
	if !runsAsJob || !s.Notes {
		return SwapKey{Next: next}
	}
	job := v1alpha1.UnconfirmedJob{Job: executor.NameOfJob(run.RunName, generation), Token: run.Token}
	noted := runkey.Note(s.KeySpec(), next, job)
	if !s.keepsItsJob(s.Run(run)) {
		return SwapKey{Next: noted}
	}
	return SwapKey{Next: next, Noted: noted}
}

// giveUpLease is giveUp for a run whose lease expires.
func (s *Snapshot) giveUpLease(next *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) Op {
	return s.giveUp(next, runkey.IdentityOf(run), s.leasedGeneration(), run.RunsAsJob())
}

// keepsItsJob reports whether a run keeps its finished Job for as long as JobLock, unless somebody deletes the Job. run is
// nil if it is gone. A Job never goes earlier because of its own TTL: see DecideJobRetention.
func (s *Snapshot) keepsItsJob(run *v1alpha1.JobRun) bool {
	if run == nil || run.DeletionTimestamp != nil {
		return false
	}
	ttl, limited := ttlOf(run, s.RunTTL)
	if ended := run.Status.CompletionTime; ended != nil {
		ttl -= s.Now.Sub(ended.Time)
	}
	return !limited || ttl >= JobLock
}

// hasRoomForNote reports whether the key can note one more Job, after some notes have gone. A run is claimed only if it
// can, because its lease may end with a note.
func (s *Snapshot) hasRoomForNote(gone int) bool {
	return len(runkey.Unconfirmed(s.KeySpec()))-gone < v1alpha1.MaxUnconfirmed
}

// checkUnconfirmed requires that nothing of an earlier lease executes before a run of the key is claimed.
func (s *Snapshot) checkUnconfirmed() []Op {
	var ops []Op
	if !s.Notes {
		ops = append(ops, StopStrays{})
	}
	if noted := runkey.Unconfirmed(s.KeySpec()); len(noted) > 0 {
		ops = append(ops, CheckUnconfirmed{noted})
	}
	return ops
}

// hasUnfinishedJob reports whether the cache shows an unfinished Job of the home.
func (s *Snapshot) hasUnfinishedJob() bool {
	return slices.ContainsFunc(s.Jobs, func(job *batchv1.Job) bool { return !executor.IsFinished(job) })
}

// confirmJobs removes the notes about Jobs that cannot appear any more.
func confirmJobs(s *Snapshot) []Op {
	if len(s.Confirmed) == 0 {
		return nil
	}
	return []Op{CheckUnconfirmed{s.Confirmed}, SwapKey{Next: runkey.Confirm(s.KeySpec(), s.Confirmed)}}
}
