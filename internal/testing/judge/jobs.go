// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// named records that the status of a run names its Job.
func (j *Judge) named(run *v1alpha1.JobRun) {
	if run.Status.JobRef != nil {
		j.jobNamed[runkey.IdentityOf(run).Token] = true
	}
}

// HasNamedJob reports whether the status of a run with that token ever named a Job, and the run must not execute twice.
func (j *Judge) HasNamedJob(token string) bool { return j.jobNamed[token] && j.failsOnLoss(token) }

// failsOnLoss reports whether the run with that token has onJobLost: Fail.
func (j *Judge) failsOnLoss(token string) bool {
	for _, run := range j.everRuns {
		if runkey.IdentityOf(run).Token == token {
			return run.Spec.OnJobLost == v1alpha1.OnJobLostFail
		}
	}
	return false
}

// Stored returns the JobRun with that UID as it is stored; nil if there is none.
func (j *Judge) Stored(uid types.UID) *v1alpha1.JobRun { return j.runs[uid] }

// onlyOnce checks that a run with onJobLost: Fail has one Job. Only a strict judge checks that, because a create may be
// delivered late.
func (j *Judge) onlyOnce(created *batchv1.Job, token string) {
	if j.o.Strict && j.jobsOf[token] > 0 && j.failsOnLoss(token) {
		j.fail("P13: Job %s is the second Job of a run with onJobLost: Fail", created.Name)
	}
	j.jobsOf[token]++
}

// jobEnded records that a Job completed before its deletion began.
func (j *Judge) jobEnded(job *batchv1.Job, token, generation string) {
	end := executor.ResultOf(job)
	if n, err := strconv.ParseInt(generation, 10, 64); err == nil && end != nil && end.Type == batchv1.JobComplete && job.DeletionTimestamp == nil {
		j.jobCompleted[lease{token, n}] = true
	}
}

// silent records that a Pod succeeded without a termination message.
func (j *Judge) silent(pod *corev1.Pod) {
	j.hasPod[pod.Annotations[v1alpha1.AnnotationToken]] = true
	if pod.Status.Phase != corev1.PodSucceeded {
		return
	}
	for _, status := range pod.Status.ContainerStatuses {
		if end := status.State.Terminated; end != nil && end.Message == "" {
			j.hasSilentPod[pod.Annotations[v1alpha1.AnnotationToken]] = true
		}
	}
}

// completed checks that a run with a Job completes only if its Job completed before its deletion began, and that it does
// not complete without an output and without a word about it, unless a Pod of it had no output. It does not judge a run
// if the history has no Job or no Pod of it.
func (j *Judge) completed(old, run *v1alpha1.JobRun) {
	if !run.RunsAsJob() || old.Status.Phase == run.Status.Phase || run.Status.Phase != v1alpha1.PhaseCompleted {
		return
	}
	token := runkey.IdentityOf(run).Token
	if j.jobsOf[token] > 0 && !j.jobCompleted[lease{token, run.Status.FinishedGeneration}] {
		j.fail("P13: %s completed, but its Job did not complete before it was deleted", describe(run))
	}
	if j.hasPod[token] && run.Status.Output == nil && run.Status.Error == "" && !j.hasSilentPod[token] {
		j.fail("P13: %s completed without output, and does not say why", describe(run))
	}
}
