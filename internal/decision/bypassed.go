// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// answerBypassed answers triggers that were stored without the webhook by the
// webhook's own rules: delivered before, absorbed, or refused. One that finds
// its key free is left to fill-pending.
func answerBypassed(s *Snapshot) []Op {
	for _, run := range s.Relisted {
		if !s.isAccepting(run) {
			continue
		}
		switch s.role(run) {
		case RoleUnadmitted:
			if ops := s.bindUnadmitted(run); len(ops) > 0 {
				return ops
			}
		case RoleUnanswered:
			if pending := s.Run(s.pending); s.isAccepting(pending) && pending.UID != run.UID {
				return s.answer(run, pending)
			}
		}
	}
	return nil
}

// bindUnadmitted binds a trigger to the run that counted it, or to the one that
// owns its idempotency key.
func (s *Snapshot) bindUnadmitted(run *v1alpha1.JobRun) []Op {
	if by := s.countedBy[run.UID]; by != nil {
		return join(s.checkKey(), []Op{CheckRun{by}}, s.bind(by, []*v1alpha1.JobRun{run}))
	}
	if first := s.Run(s.Owners[run.UID]); first != nil && s.hasStarted(first) {
		return []Op{WriteStatus{run, boundStatus(run, first, v1alpha1.PhaseIdempotent, s.Now)}}
	}
	return nil
}

// answer is the answer of a key for which pending waits.
func (s *Snapshot) answer(run, pending *v1alpha1.JobRun) []Op {
	switch verdict := runkey.PolicyOf(run.Spec.Coalesce).Verdict; {
	case verdict == runkey.Refused:
		status := endedStatus(run, ending{
			phase: v1alpha1.PhaseFailed, reason: ReasonConflict, now: s.Now, generation: run.LeaseGeneration(),
			message: fmt.Sprintf("run %s is pending for job %q, concurrencyKey %q",
				pending.Name, run.Spec.JobName, run.Spec.ConcurrencyKey),
		})
		return join(s.checkKey(), []Op{CheckRun{pending}, WriteStatus{run, status}, Emit{endedEvent(run, status)}})
	case verdict != runkey.Absorbed || s.room(pending) <= 0:
		return nil
	default:
		_, ops := s.absorb(pending, []*v1alpha1.JobRun{run})
		return join(s.checkKey(), ops)
	}
}
