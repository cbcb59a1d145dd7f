// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// leaseOf returns the lease of a Job.
func leaseOf(job *batchv1.Job) lease {
	generation, _ := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationGeneration], 10, 64)
	return lease{job.Annotations[v1alpha1.AnnotationToken], generation}
}

func (j *Judge) jobFinished(job *batchv1.Job) {
	if executor.IsFinished(job) {
		j.finished[leaseOf(job)] = true
	}
}

// mayStartUntil records when a JobRun was deleted, cancelled, bound or ended. After that, no Job of it may pass the fence.
func (j *Judge) mayStartUntil(e *Event, run *v1alpha1.JobRun) {
	token := runkey.IdentityOf(run).Token
	if _, known := j.over[token]; !known && (e.New == nil || run.EndRequested() || run.HasEnded() || run.IsReceipt()) {
		j.over[token] = e.Revision
	}
}

// PassedFence checks P4 and P6 for a Job that the fence let pass: neither its run nor its lease was over when the create
// arrived at the API server, at the revision arrival.
func (j *Judge) PassedFence(job *batchv1.Job, arrival uint64) {
	if end, over := j.givenUp[leaseOf(job)]; over && end <= arrival && !j.bereft[job.Labels[v1alpha1.LabelKey]] {
		j.fail("P6: Job %s passed the fence, but its lease was given up before", job.Name)
	}
	if end, over := j.over[leaseOf(job).token]; over && end <= arrival {
		j.fail("P4: Job %s passed the fence, but its run was over before", job.Name)
	}
}

// nothingExecutes checks P6 for a claim: no unfinished Job of the key existed at the version of the RunKey that the claim is
// based on. A Job that was created since may have passed the fence before. There is one exception, unless Locked: a second Job
// of a lease whose first one had finished, and was then deleted.
func (j *Judge) nothingExecutes(key *v1alpha1.RunKeySpec) {
	name := v1alpha1.ConcurrencyKeyName(key.JobName, key.Key)
	from, err := strconv.ParseUint(key.Leased.FromVersion, 10, 64)
	if err != nil || j.bereft[name] {
		return
	}
	for _, job := range j.jobs {
		if job.Labels[v1alpha1.LabelKey] != name || executor.IsFinished(job) || j.made[job.UID] >= from || j.finished[leaseOf(job)] && !j.o.Locked {
			continue
		}
		j.fail("P6: run %s was claimed while Job %s executes", key.Leased.RunName, job.Name)
	}
}
