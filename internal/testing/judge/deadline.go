// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// slack is how long after its deadline a run may still lack an outcome.
const slack = 2 * time.Second

// acquire records when a lease was acquired.
func (j *Judge) acquire(l lease) {
	if _, known := j.acquired[l]; !known && j.o.Clock != nil {
		j.acquired[l] = j.o.Clock.Now()
	}
}

// bounded checks the deadline of a run with a Job, however its Job fares. The run does not fail for the deadline
// before its lease has lasted that long. A strict judge requires that the run has an outcome within the slack.
func (j *Judge) bounded(old, run *v1alpha1.JobRun) {
	seconds := run.Spec.ActiveDeadlineSeconds
	if seconds == 0 || !run.RunsAsJob() || j.o.Clock == nil {
		return
	}
	token := runkey.IdentityOf(run).Token
	if run.Status.Phase == v1alpha1.PhaseLeased {
		j.acquire(lease{token, run.LeaseGeneration()})
	}
	acquired, leased := j.acquired[lease{token, run.Status.FinishedGeneration}]
	if !leased || old.HasEnded() || !run.HasEnded() {
		return
	}
	deadline, now := time.Duration(seconds)*time.Second, j.o.Clock.Now()
	if early := acquired.Add(deadline).Sub(now); early > 0 && strings.Contains(run.Status.Error, "activeDeadlineSeconds") {
		j.fail("deadline: %s failed for its deadline, %s early", describe(run), early)
	}
	calm := j.o.Calm()
	if calm.IsZero() || !j.o.Strict {
		return
	}
	if acquired.Before(calm) {
		acquired = calm
	}
	if late := now.Sub(acquired.Add(deadline)); late > slack {
		j.fail("deadline: %s got its outcome %s after its deadline", describe(run), late)
	}
}

// beforeTheEnd checks that no Job is created for a run that has an outcome. Only a strict judge checks that,
// because a create may be delivered late.
func (j *Judge) beforeTheEnd(job *batchv1.Job, token string) {
	for _, run := range j.runs {
		if j.o.Strict && runkey.IdentityOf(run).Token == token && run.HasEnded() {
			j.fail("deadline: Job %s was created after the end of %s", job.Name, describe(run))
		}
	}
}
