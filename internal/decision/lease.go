// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// restoreLease gives a run that reads Leased its place in the key back, when the
// key was deleted or missed the claim.
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

// dropSupersededLease takes the lease from a run that reads Leased while the key
// leases another: one of the two must not execute, and the key decides which.
func dropSupersededLease(s *Snapshot) []Op {
	for _, run := range s.Runs {
		if s.role(run) != RoleSuperseded {
			continue
		}
		status := expiredStatus(run)
		if !run.IsHeld() {
			status.Attempts = run.Status.Attempts // It had expired, and counted.
		}
		status.Phase = ""
		if int(status.Attempts) >= maxAttempts(run) {
			status = endedStatus(run, ending{
				phase: v1alpha1.PhaseFailed, generation: run.LeaseGeneration(), reason: ReasonLeaseExpired,
				message: attemptsMessage(int(status.Attempts)), attempts: status.Attempts, now: s.Now,
			})
		}
		return join(stopRun(run), s.checkKey(), []Op{WriteStatus{run, status}, Emit{leaseExpiredEvent(run, status)}})
	}
	return nil
}
