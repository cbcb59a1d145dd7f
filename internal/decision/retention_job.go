// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// JobRetention is what DecideJobRetention decides about: a finished Job.
type JobRetention struct {
	Now metav1.Time
	Job *batchv1.Job
	// Run is the JobRun that owns the Job.
	Run *v1alpha1.JobRun
	// TTL is how long a Job is kept whose template has no ttlSecondsAfterFinished; 0 for as long as its JobRun.
	TTL time.Duration
	// Unlocked is the time since this process first saw that the run has an outcome and that no key leases it. It is 0
	// before that.
	Unlocked time.Duration
	// Sweep is the time between two sweeps. A sweep finds the Jobs whose TTL ends before the next one.
	Sweep time.Duration
}

// DecideJobRetention decides whether to delete a finished Job. Its TTL counts from the completionTime of its run, so from when
// the outcome was stored. The Job also stays for as long as JobLock after its lease was given up (P6).
func DecideJobRetention(t JobRetention) Plan {
	left, kept := t.TimeToLive()
	if !kept || left > t.Sweep {
		return Plan{} // A later sweep finds the Job in time.
	}
	if left = max(left, JobLock-t.Unlocked); left > 0 {
		return Plan{After: left}
	}
	return Plan{Step: "expire-job", Ops: []Op{DeleteJob{t.Job}}}
}

// TimeToLive returns how much longer the Job is kept, but for JobLock; ok is false if it goes with its JobRun, or if the
// outcome of its run is not stored.
func (t JobRetention) TimeToLive() (left time.Duration, ok bool) {
	ended := t.Run.Status.CompletionTime
	switch {
	case !executor.IsFinished(t.Job), t.Job.DeletionTimestamp != nil,
		!t.Run.HasOutcome(), ended == nil, t.Run.DeletionTimestamp != nil:
		return 0, false
	}
	ttl, own := executor.TTLOf(t.Job)
	if !own {
		ttl = t.TTL
	}
	return ttl - t.Now.Sub(ended.Time), own || ttl > 0
}
