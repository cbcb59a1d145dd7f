// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
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
			status.Attempts = run.Status.Attempts // The lease has expired, and that attempt is counted.
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
