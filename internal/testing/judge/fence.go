// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// fenceBound is the longest time in which a Job that has passed the fence is stored: the webhook's timeout of 10 s, and the
// API server's bound of 34 s on a create.
const fenceBound = 44 * time.Second

// leaseOf returns the lease of a Job.
func leaseOf(job *batchv1.Job) lease {
	generation, _ := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationGeneration], 10, 64)
	return lease{job.Annotations[v1alpha1.AnnotationToken], generation}
}

// giveUp records when a RunKey gave a lease up.
func (j *Judge) giveUp(l lease) {
	if j.o.Clock != nil {
		j.givenUp[l] = j.o.Clock.Now()
	}
}

func (j *Judge) jobFinished(job *batchv1.Job) {
	if executor.IsFinished(job) {
		j.finished[leaseOf(job)] = true
	}
}

// passedTheFence checks P6 for a Job that is stored after its lease was given up: its create was under way by then.
func (j *Judge) passedTheFence(job *batchv1.Job) {
	if j.o.Clock == nil || j.bereft[job.Labels[v1alpha1.LabelKey]] {
		return
	}
	if late := j.o.Clock.Now().Sub(j.givenUp[leaseOf(job)]); late > fenceBound {
		j.fail("P6: Job %s was created %s after its lease was given up", job.Name, late)
	}
}

// nothingExecutes checks P6 for a claim: no unfinished Job of the key existed at the version of the RunKey that the claim is
// based on. A Job that was created since may have passed the fence before. There is one exception: a second Job of a lease
// whose first one had finished, and was then deleted.
func (j *Judge) nothingExecutes(key *v1alpha1.RunKeySpec) {
	name := v1alpha1.ConcurrencyKeyName(key.JobName, key.Key)
	from, err := strconv.ParseUint(key.Leased.FromVersion, 10, 64)
	if err != nil || j.bereft[name] {
		return
	}
	for _, job := range j.jobs {
		if job.Labels[v1alpha1.LabelKey] != name || executor.IsFinished(job) || j.made[job.UID] >= from || j.finished[leaseOf(job)] {
			continue
		}
		j.fail("P6: run %s was claimed while Job %s executes", key.Leased.RunName, job.Name)
	}
}
