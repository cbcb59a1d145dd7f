// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Batch is what a decision about a batch is made from.
type Batch struct {
	Leader *v1alpha1.JobRun
	// Members are those that exist, the leader included.
	Members []*v1alpha1.JobRun
	// Left is how long the members that are missing may still take.
	Left time.Duration
}

// DecideBatch says once what becomes of a batch: it starts when all members
// exist, and is withdrawn when they do not in time. A leader that is cancelled
// withdraws its batch as it ends.
func DecideBatch(b Batch) Plan {
	switch {
	case !b.Leader.AwaitsBatch() || b.Leader.EndRequested():
		return Plan{}
	case b.IsWhole():
		return record(b.Leader, v1alpha1.BatchStarted)
	case b.Left <= 0:
		return record(b.Leader, v1alpha1.BatchWithdrawn)
	default:
		return Plan{After: b.Left}
	}
}

func record(leader *v1alpha1.JobRun, decision v1alpha1.BatchDecision) Plan {
	status := statusOf(leader)
	status.Batch = &v1alpha1.BatchStatus{Decision: decision}
	return Plan{Step: "decide-batch", Ops: []Op{WriteStatus{leader, status}}}
}

// IsWhole reports whether all members exist and none of them is to end.
func (b Batch) IsWhole() bool {
	n := 0
	for _, member := range b.Members {
		if *member.Spec.Batch == *b.Leader.Spec.Batch && !member.EndRequested() && !member.HasEnded() {
			n++
		}
	}
	return n >= int(b.Leader.Spec.Batch.Size)
}

// batchDecision is what became of the batch of a JobRun; empty while it is
// undecided. A trigger that is in no batch has started by itself.
func (s *Snapshot) batchDecision(run *v1alpha1.JobRun) v1alpha1.BatchDecision {
	switch {
	case run.Spec.Batch == nil:
		return v1alpha1.BatchStarted
	case run.Status.Batch != nil:
		return run.Status.Batch.Decision
	case s.hasBegun(run):
		return v1alpha1.BatchStarted
	case run.LeadsBatch() && run.EndRequested(), run.HasEnded():
		return v1alpha1.BatchWithdrawn // It ends, or has ended, before its batch has started.
	default:
		return s.BatchDecisions[run.UID]
	}
}

// hasBegun reports whether something was done for a member that is done only once
// its batch has started: it was claimed, or counted. Its status may not say so
// yet, and the leader that said so may be gone.
func (s *Snapshot) hasBegun(member *v1alpha1.JobRun) bool {
	id := runkey.IdentityOf(member)
	return runkey.Leased(s.KeySpec()) == id || s.countedBy[member.UID] != nil ||
		slices.ContainsFunc(s.Jobs, func(job *batchv1.Job) bool { return s.JobIdentity(job) == id })
}

// hasStarted reports whether the batch of a JobRun has started, if it is in one.
func (s *Snapshot) hasStarted(run *v1alpha1.JobRun) bool {
	return s.batchDecision(run) == v1alpha1.BatchStarted
}

// isWithdrawn reports whether the batch of a JobRun was withdrawn.
func (s *Snapshot) isWithdrawn(run *v1alpha1.JobRun) bool {
	return s.batchDecision(run) == v1alpha1.BatchWithdrawn
}

// withBatchDecision makes the statuses that a plan writes say what became of the
// batch: the leader may be gone before the last member starts.
func (s *Snapshot) withBatchDecision(ops []Op) []Op {
	for i, op := range ops {
		write, ok := op.(WriteStatus)
		if !ok || write.Run.Spec.Batch == nil || write.Status.Batch != nil {
			continue
		}
		if decision := s.batchDecision(write.Run); decision != "" {
			write.Status.Batch = &v1alpha1.BatchStatus{Decision: decision}
			ops[i] = write
		}
	}
	return ops
}

func withdrawnMessage(b *v1alpha1.BatchMember) string {
	return fmt.Sprintf("batch %s was withdrawn: its %d members did not all come into being", b.ID, b.Size)
}
