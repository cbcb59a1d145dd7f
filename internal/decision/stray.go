// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// deleteStrayJob deletes a Job that executes without the key's lease (P6).
func deleteStrayJob(s *Snapshot) []Op {
	for _, job := range s.Jobs {
		if !executor.IsFinished(job) && job.DeletionTimestamp == nil && s.IsStray(job) {
			return join(s.checkStray(job), []Op{DeleteJob{job}})
		}
	}
	return nil
}

// checkStray makes sure that a stray Job is judged by what is stored now.
func (s *Snapshot) checkStray(job *batchv1.Job) []Op {
	if run := s.Run(s.JobIdentity(job)); !s.Keyed && run != nil {
		return []Op{CheckRun{run}}
	}
	return s.checkKey()
}

// IsStray reports whether no lease has the generation that a Job was made for.
func (s *Snapshot) IsStray(job *batchv1.Job) bool {
	id, generation := s.JobIdentity(job), executor.GenerationOf(job)
	if s.Keyed {
		return s.leased != id || s.leasedGeneration() != generation
	}
	run := s.Run(id)
	switch {
	case run == nil:
		return s.Gone[id]
	case run.Status.Phase == v1alpha1.PhaseLeased:
		return run.LeaseGeneration() != generation
	default:
		// The Job of a claim that is not stored yet has the next generation.
		return run.HasEnded() || generation != run.LeaseGeneration()+1
	}
}
