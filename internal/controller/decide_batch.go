package controller

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

// decideBatch says once what becomes of a batch: it starts when all members
// exist, and is withdrawn when they do not in time. A leader that is cancelled
// withdraws its batch as it ends.
func decideBatch(b Batch) Plan {
	switch {
	case !b.Leader.AwaitsBatch() || b.Leader.EndRequested():
		return Plan{}
	case b.whole():
		return recorded(b.Leader, v1alpha1.BatchStarted)
	case b.Left <= 0:
		return recorded(b.Leader, v1alpha1.BatchWithdrawn)
	default:
		return Plan{After: b.Left}
	}
}

func recorded(leader *v1alpha1.JobRun, decision v1alpha1.BatchDecision) Plan {
	status := statusOf(leader)
	status.Batch = &v1alpha1.BatchStatus{Decision: decision}
	return Plan{Step: "decide-batch", Ops: []Op{WriteStatus{leader, status}}}
}

// whole reports whether all members exist and none of them is to end.
func (b Batch) whole() bool {
	n := 0
	for _, member := range b.Members {
		if *member.Spec.Batch == *b.Leader.Spec.Batch && !member.EndRequested() && !member.HasEnded() {
			n++
		}
	}
	return n >= int(b.Leader.Spec.Batch.Size)
}

// verdict is what became of the batch of a JobRun; empty while it is undecided.
// A trigger that is in no batch has started by itself.
func (s *Snapshot) verdict(run *v1alpha1.JobRun) v1alpha1.BatchDecision {
	switch {
	case run.Spec.Batch == nil:
		return v1alpha1.BatchStarted
	case run.Status.Batch != nil:
		return run.Status.Batch.Decision
	case s.begun(run):
		return v1alpha1.BatchStarted
	case run.LeadsBatch() && run.EndRequested(), run.HasEnded():
		return v1alpha1.BatchWithdrawn // It ends, or has ended, before its batch has started.
	default:
		return s.Verdicts[run.UID]
	}
}

// begun reports whether something was done for a member that is done only once
// its batch has started: it was claimed, or counted. Its status may not say so
// yet, and the leader that said so may be gone.
func (s *Snapshot) begun(member *v1alpha1.JobRun) bool {
	id := runkey.IdentityOf(member)
	return runkey.Leased(s.spec()) == id || s.counted[member.UID] != nil ||
		slices.ContainsFunc(s.Jobs, func(job *batchv1.Job) bool {
			of, _ := s.identityOf(job)
			return of == id
		})
}

func (s *Snapshot) started(run *v1alpha1.JobRun) bool {
	return s.verdict(run) == v1alpha1.BatchStarted
}

func (s *Snapshot) withdrawn(run *v1alpha1.JobRun) bool {
	return s.verdict(run) == v1alpha1.BatchWithdrawn
}

// stamped makes the statuses that a plan writes say what became of the batch:
// the leader may be gone before the last member starts.
func (s *Snapshot) stamped(ops []Op) []Op {
	for i, op := range ops {
		write, ok := op.(WriteStatus)
		if !ok || write.Run.Spec.Batch == nil || write.Status.Batch != nil {
			continue
		}
		if verdict := s.verdict(write.Run); verdict != "" {
			write.Status.Batch = &v1alpha1.BatchStatus{Decision: verdict}
			ops[i] = write
		}
	}
	return ops
}

func withdrawnMessage(b *v1alpha1.BatchMember) string {
	return fmt.Sprintf("batch %s was withdrawn: its %d members did not all come into being", b.ID, b.Size)
}
