// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// expire ends a lease that was not renewed, whose Job vanished, or that was given back:
// execution.go sees that, by the time that controller/observe_lease.go measured. The run
// goes back to wait if no other run waits, or if it may take the place of that one, and
// fails otherwise (I5).
func (s *Snapshot) expire(run *v1alpha1.JobRun) []Op {
	attempts := attemptsAfter(run)
	if int(attempts) >= maxAttempts(run) {
		return s.failExpired(run, attempts, attemptsMessage(int(attempts)))
	}
	if rival := s.waitingBehind(run); rival != (runkey.Identity{}) {
		if !s.isComing(rival) {
			return nil // What it asks for is not known.
		}
		if !displaces(run, s.Run(rival)) {
			return s.failExpired(run, attempts, lostToMessage(rival.RunName))
		}
	}
	fenced := expiredStatus(run)
	if !s.Keyed {
		return join(stopRun(run), []Op{WriteStatus{run, requeuedStatus(fenced)}}, tellExpired(run, fenced))
	}
	return join(
		stopRun(run),
		s.checkKey(),
		[]Op{WriteStatus{run, fenced}},
		s.requeue(run, fenced),
	)
}

// finishExpiry goes on with an expiry whose fence is written already.
func (s *Snapshot) finishExpiry(run *v1alpha1.JobRun) []Op {
	if rival := s.waitingBehind(run); rival != (runkey.Identity{}) {
		if !s.isComing(rival) {
			return nil
		}
		if !displaces(run, s.Run(rival)) {
			return s.failExpired(run, run.Status.Attempts, lostToMessage(rival.RunName))
		}
	}
	return join(stopRun(run), []Op{CheckRun{run}}, s.requeue(run, run.Status))
}

// requeue moves a fenced run back to the waiting place, then says so.
func (s *Snapshot) requeue(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	if rival := s.Run(s.waitingBehind(run)); rival != nil {
		return s.displace(run, rival, fenced)
	}
	next, ok := runkey.Requeue(s.KeySpec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	return join(s.swapKey(next), tellExpired(run, fenced), []Op{WriteStatus{run, requeuedStatus(fenced)}})
}

// failExpired fails a run whose lease expired.
func (s *Snapshot) failExpired(run *v1alpha1.JobRun, attempts int32, message string) []Op {
	end := ending{
		phase: v1alpha1.PhaseFailed, reason: ReasonLeaseExpired, message: message,
		attempts: attempts, generation: run.LeaseGeneration(), now: s.Now,
	}
	status := endedStatus(run, end)
	return join(
		s.checkKey(),
		[]Op{
			WriteStatus{run, status},
			Emit{leaseExpiredEvent(run, status)},
			Emit{endedEvent(run, status)},
			Count{Metric{Kind: ExpiredFailed}},
		},
		s.release(runkey.IdentityOf(run), end.generation, run.RunsAsJob()),
	)
}

// tellExpired tells that a lease has expired. It comes right after the write that only
// one controller can have made: another may be the one that writes the status.
func tellExpired(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	return []Op{Emit{leaseExpiredEvent(run, requeuedStatus(fenced))}, Count{Metric{Kind: ExpiredRequeued}}}
}

// waitingBehind is the run that waits for the key that run holds; the zero
// Identity if there is none.
func (s *Snapshot) waitingBehind(run *v1alpha1.JobRun) runkey.Identity {
	if s.Keyed && s.pending != runkey.IdentityOf(run) {
		return s.pending
	}
	return runkey.Identity{}
}

// isComing reports whether it is known that a run comes of a reservation: it
// exists, and is no member of a batch that may be withdrawn.
func (s *Snapshot) isComing(id runkey.Identity) bool {
	run := s.Run(id)
	return run != nil && s.hasStarted(run)
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

func lostToMessage(pending string) string {
	return fmt.Sprintf("Lease expired; pending run %s already exists", pending)
}
