// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Batch is what DecideBatch decides about.
type Batch struct {
	Leader *v1alpha1.JobRun
	// Members are the members that exist, the leader included.
	Members []*v1alpha1.JobRun
	// Left is how much longer the batch waits for missing members.
	Left time.Duration
}

// DecideBatch decides once whether a batch starts or is withdrawn. It starts when all members exist. It is
// withdrawn if they do not exist in time. If the leader is cancelled, its end withdraws the batch: see
// batchDecision.
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

// IsWhole reports whether all members exist, and none of them is cancelled or has ended. A member of an earlier batch with the
// same values records what became of that one, so it does not count.
func (b Batch) IsWhole() bool {
	n := 0
	for _, member := range b.Members {
		if *member.Spec.Batch == *b.Leader.Spec.Batch && member.AwaitsBatch() && !member.EndRequested() {
			n++
		}
	}
	return n >= int(b.Leader.Spec.Batch.Size)
}

// batchDecision returns the decision about the batch of a JobRun; empty while it is undecided. A trigger that
// is in no batch counts as Started.
func (s *Snapshot) batchDecision(run *v1alpha1.JobRun) v1alpha1.BatchDecision {
	switch {
	case run.Spec.Batch == nil:
		return v1alpha1.BatchStarted
	case run.Status.Batch != nil:
		return run.Status.Batch.Decision
	case s.hasBegun(run):
		return v1alpha1.BatchStarted
	case run.LeadsBatch() && run.EndRequested(), run.HasEnded():
		return v1alpha1.BatchWithdrawn // A member that ends before its batch has started counts as withdrawn.
	default:
		return s.BatchDecisions[run.UID]
	}
}

// hasBegun reports whether a member was claimed or counted, which proves that its batch has started. The
// status of the member may not record that yet, and the leader that recorded it may be gone.
func (s *Snapshot) hasBegun(member *v1alpha1.JobRun) bool {
	id := runkey.IdentityOf(member)
	return runkey.Leased(s.KeySpec()) == id || s.countedBy[member.UID] != nil ||
		slices.ContainsFunc(s.Jobs, func(job *batchv1.Job) bool { return s.JobIdentity(job) == id })
}

// hasStarted reports whether the batch of a JobRun has started; true for a JobRun that is in no batch.
func (s *Snapshot) hasStarted(run *v1alpha1.JobRun) bool {
	return s.batchDecision(run) == v1alpha1.BatchStarted
}

// isWithdrawn reports whether the batch of a JobRun was withdrawn.
func (s *Snapshot) isWithdrawn(run *v1alpha1.JobRun) bool {
	return s.batchDecision(run) == v1alpha1.BatchWithdrawn
}

// withBatchDecision adds the decision about the batch to each status that a plan writes on a member. The
// leader, which records it, may be gone before the last member starts.
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
