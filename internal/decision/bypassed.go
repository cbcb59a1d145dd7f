// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// answerBypassed answers triggers that were stored without the webhook, by the rules of the webhook: as
// delivered before, absorbed or refused. If no run waits, fill-pending seats the trigger.
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

// bindUnadmitted binds a trigger to the run that counted it, or to the owner of its idempotency key. If that owner is gone,
// the trigger gets the outcome that the key remembers.
func (s *Snapshot) bindUnadmitted(run *v1alpha1.JobRun) []Op {
	if by := s.countedBy[run.UID]; by != nil {
		return join(s.checkKey(), []Op{CheckRun{by}}, s.bind(by, []*v1alpha1.JobRun{run}))
	}
	if first := s.Run(s.Owners[run.UID]); first != nil && s.hasStarted(first) && !s.cameLate(run) {
		return []Op{WriteStatus{run, s.deliveredStatus(run, first)}}
	}
	if s.isRecalled(run) {
		return []Op{s.recall(run)}
	}
	return nil
}

// answer fails or absorbs a trigger while the run pending waits for its key.
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
