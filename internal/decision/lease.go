// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// restoreLease writes the lease of a run that reads Leased into the key, which was deleted or bypassed.
func restoreLease(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if s.role(run) != RoleUnrecorded {
			continue
		}
		next, ok := runkey.Restore(s.KeySpec(), run)
		if !ok {
			return nil
		}
		return join(s.checkRunsIfKeyMissing(), []Op{CheckRun{run}}, s.swapKey(next))
	}
	return nil
}

// dropSupersededLease takes the lease from a run that reads Leased while the key leases another run. Only the
// run that the key leases may execute.
func dropSupersededLease(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if s.role(run) != RoleSuperseded {
			continue
		}
		status := expiredStatus(run)
		if !run.IsHeld() {
			status.Attempts = run.Status.Attempts // The lease has expired before, which counted the attempt.
		}
		status.Phase = ""
		if int(status.Attempts) >= maxAttempts(run) {
			status = endedStatus(run, ending{
				phase: v1alpha1.PhaseFailed, generation: run.LeaseGeneration(), reason: ReasonLeaseExpired,
				message: attemptsMessage(int(status.Attempts)), attempts: status.Attempts, now: s.Now,
			})
		}
		return join(stopRun(run, heldGeneration(run)), s.checkKey(), []Op{WriteStatus{run, status}, Emit{leaseExpiredEvent(run, status)}})
	}
	return nil
}

// heldGeneration returns the generation under which the Job of a run that reads Leased executes. A run without a holder has
// the generation of the fence that followed.
func heldGeneration(run *v1alpha1.JobRun) int64 {
	if run.IsHeld() {
		return run.LeaseGeneration()
	}
	return run.LeaseGeneration() - 1
}

// deleteStrayJob deletes a Job that executes without the key's lease (P6).
func deleteStrayJob(s *Snapshot) []Op {
	for _, job := range s.Jobs {
		if !executor.IsFinished(job) && job.DeletionTimestamp == nil && s.IsStray(job) {
			return join(s.checkStray(job), []Op{DeleteJob{job}})
		}
	}
	return nil
}

// checkStray checks the key live, or the run if there is no key. Another controller may have created the Job
// for a claim that the snapshot does not show.
func (s *Snapshot) checkStray(job *batchv1.Job) []Op {
	if run := s.Run(s.JobIdentity(job)); !s.Keyed && run != nil {
		return []Op{CheckRun{run}}
	}
	return s.checkKey()
}

// IsStray reports whether a Job is not the Job of the current lease.
func (s *Snapshot) IsStray(job *batchv1.Job) bool {
	id, generation := s.JobIdentity(job), executor.GenerationOf(job)
	if s.Keyed {
		return s.leased != id || s.leasedGeneration() != generation
	}
	run := s.Run(id)
	if run == nil {
		return s.Gone[id]
	}
	return !runkey.LeasesItself(run, generation)
}
