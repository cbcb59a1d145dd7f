// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// loseJob ends a lease whose Job is lost: it is gone, and the controller cannot know how it would have ended. The run
// fails if its onJobLost is Fail. Otherwise the lease expires.
func (s *Snapshot) loseJob(run *v1alpha1.JobRun) []Op {
	if run.Spec.OnJobLost == v1alpha1.OnJobLostFail {
		return s.failRun(run, attemptsAfter(run), ReasonJobLost, s.lossOf(run))
	}
	return s.expire(run)
}

// lossOf says what happened to the Job of a run that was lost, and what follows. It is empty if no Job was lost.
func (s *Snapshot) lossOf(run *v1alpha1.JobRun) string {
	e := s.execution(run)
	if !e.JobLost {
		return ""
	}
	what := fmt.Sprintf("Job %s is gone, and it is not known how it ended", jobOf(run))
	if e.JobDeleted {
		what = fmt.Sprintf("Job %s was deleted before it ended", jobOf(run))
	}
	if run.Spec.OnJobLost == v1alpha1.OnJobLostFail {
		return what + "; the run does not execute again, because onJobLost is Fail"
	}
	return what + "; if the run executes again, its work may be done twice"
}

// jobOf returns the name of the Job that the status of a run names.
func jobOf(run *v1alpha1.JobRun) string {
	if run.Status.JobRef == nil {
		return executor.JobName(run, run.LeaseGeneration())
	}
	return run.Status.JobRef.Name
}

// confirmLoss checks again that the Job of a run is lost, right before the plan acts on that.
func (s *Snapshot) confirmLoss(run *v1alpha1.JobRun) []Op {
	if !s.execution(run).JobLost {
		return nil
	}
	return []Op{ConfirmLoss{run}}
}

// tellLoss tells that the Job of a run is lost.
func (s *Snapshot) tellLoss(run *v1alpha1.JobRun) []Op {
	if !s.execution(run).JobLost {
		return nil
	}
	return []Op{Emit{jobLostEvent(run, s.lossOf(run))}}
}

// expire ends a lease that was not renewed, that was given back, or whose Job is gone.
// controller/observe_lease.go measures the time since the last renewal. The run waits again if no other run
// waits, or if it may take the place of the waiting run. Otherwise it fails (I5).
func (s *Snapshot) expire(run *v1alpha1.JobRun) []Op {
	attempts := attemptsAfter(run)
	if int(attempts) >= maxAttempts(run) {
		return s.failExpired(run, attempts, attemptsMessage(int(attempts)))
	}
	if ops, decided := s.failForWaiting(run, attempts); decided {
		return ops
	}
	fenced := expiredStatus(run)
	fenced.Error = oneLine(s.lossOf(run))
	if !s.Keyed {
		return join(stopRun(run, run.LeaseGeneration()), s.confirmLoss(run), []Op{WriteStatus{run, requeuedStatus(fenced)}}, s.tellLoss(run), tellExpired(run, fenced))
	}
	return join(stopRun(run, s.leasedGeneration()), s.checkKey(), s.confirmLoss(run), []Op{WriteStatus{run, fenced}}, s.tellLoss(run), s.requeue(run, fenced))
}

// finishExpiry finishes an expiry that stopped after the fence was written.
func (s *Snapshot) finishExpiry(run *v1alpha1.JobRun) []Op {
	if ops, decided := s.failForWaiting(run, run.Status.Attempts); decided {
		return ops
	}
	return join(stopRun(run, s.leasedGeneration()), []Op{CheckRun{run}}, s.requeue(run, statusOf(run)))
}

// failForWaiting fails a run whose lease expired if another run waits and does not give way. decided is also
// true while the waiting JobRun does not exist yet, or its batch is undecided. The expiry then waits, because
// it is not known yet which of the two runs gives way.
func (s *Snapshot) failForWaiting(run *v1alpha1.JobRun, attempts int32) (ops []Op, decided bool) {
	id, first := s.waitingBehind(run), s.firstInLine(run)
	switch waiting := s.Run(id); {
	case id == runkey.Identity{} && first != nil:
		return s.seat(first), true // It waits, too. The next decision is about the two of them.
	case id == runkey.Identity{}:
		return nil, false
	case waiting == nil || !s.hasStarted(waiting):
		return nil, true
	case displaces(run, waiting):
		return nil, false
	default:
		return s.failExpired(run, attempts, fmt.Sprintf("Lease expired; pending run %s already exists", id.RunName)), true
	}
}

// requeue moves a fenced run back to the waiting place: it writes the key, then the status.
func (s *Snapshot) requeue(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	if waiting := s.Run(s.waitingBehind(run)); waiting != nil {
		return s.displace(run, waiting, fenced)
	}
	next, ok := runkey.Requeue(s.KeySpec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	return join([]Op{s.giveUpLease(next, run)}, tellExpired(run, fenced), []Op{WriteStatus{run, requeuedStatus(fenced)}})
}

// failExpired fails a run whose lease expired.
func (s *Snapshot) failExpired(run *v1alpha1.JobRun, attempts int32, message string) []Op {
	return s.failRun(run, attempts, ReasonLeaseExpired, message)
}

// failRun fails a run whose lease expired, or whose Job was lost.
func (s *Snapshot) failRun(run *v1alpha1.JobRun, attempts int32, reason, message string) []Op {
	end := ending{
		phase: v1alpha1.PhaseFailed, reason: reason, message: message,
		attempts: attempts, generation: run.LeaseGeneration(), now: s.Now,
	}
	status := endedStatus(run, end)
	return join(
		s.checkKey(),
		s.confirmLoss(run),
		[]Op{WriteStatus{run, status}},
		s.tellLoss(run),
		[]Op{Emit{leaseExpiredEvent(run, status)}, Emit{endedEvent(run, status)}},
		[]Op{Count{Metric{Kind: ExpiredFailed}}},
		s.release(runkey.IdentityOf(run), s.claimedGeneration(run), run.RunsAsJob()), // The status may have the fence's generation.
	)
}

// tellExpired emits and counts an expiry, right after the plan writes the key. If two controllers expire the
// same lease, only one succeeds with that write. So the expiry is counted once, whichever of them writes the
// status.
func tellExpired(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	return []Op{Emit{leaseExpiredEvent(run, requeuedStatus(fenced))}, Count{Metric{Kind: ExpiredRequeued}}}
}

// waitingBehind returns the run that waits while run holds the key; the zero Identity if there is none.
func (s *Snapshot) waitingBehind(run *v1alpha1.JobRun) runkey.Identity {
	if s.Keyed && s.pending != runkey.IdentityOf(run) {
		return s.pending
	}
	return runkey.Identity{}
}

func maxAttempts(run *v1alpha1.JobRun) int {
	if run.Spec.MaxAttempts == 0 {
		return v1alpha1.DefaultMaxAttempts
	}
	return int(run.Spec.MaxAttempts)
}

func attemptsMessage(attempts int) string {
	return fmt.Sprintf("Lease expired; all %d attempts are used", attempts)
}
