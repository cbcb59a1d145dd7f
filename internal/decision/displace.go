// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// displaces reports whether a run whose lease has ended takes the place of the
// one that waits behind it.
func displaces(run, waiting *v1alpha1.JobRun) bool {
	return run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue && runkey.PolicyOf(waiting.Spec.Coalesce).GivesWay
}

// displace puts a fenced run in the place of the one that waits, which becomes
// its receipt before the run itself reads Pending again.
func (s *Snapshot) displace(run, waiting *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	next, ok := runkey.Displace(s.KeySpec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	pending := *fenced.DeepCopy()
	ops := join([]Op{CheckRun{waiting}}, s.swapKey(next), tellExpired(run, fenced))
	switch {
	case waiting.Status.Phase != v1alpha1.PhasePending:
		// It was never told that it waits, and simply waits on.
	case s.room(run) > 0:
		leaver := run.DeepCopy()
		leaver.Status = fenced
		var absorb []Op
		pending, absorb = s.absorb(leaver, []*v1alpha1.JobRun{waiting})
		ops = append(ops, absorb...)
	default:
		ops = append(ops, WriteStatus{waiting, unseatedStatus(waiting, run.Name)})
	}
	pending.Phase = v1alpha1.PhasePending
	return append(ops, WriteStatus{run, pending})
}

// finishDisplacement goes on with a displacement after its key was written: the
// status of the run that waits again is behind, and another run reads Pending.
func finishDisplacement(s *Snapshot) []Op {
	run := s.Run(s.pending)
	if run == nil || s.role(run) != RoleRequeued || !s.isAccepting(run) || s.room(run) <= 0 {
		return nil
	}
	for _, waiting := range s.Runs {
		if s.role(waiting) != RoleStalePending || !s.isAccepting(waiting) || !displaces(run, waiting) || hasCounted(run, waiting.UID) {
			continue
		}
		_, ops := s.absorb(run, []*v1alpha1.JobRun{waiting})
		return join(s.checkKey(), []Op{CheckRun{waiting}}, ops)
	}
	return nil
}

// unseatedStatus says of a run that reads Pending that another one waits.
func unseatedStatus(run *v1alpha1.JobRun, pending string) v1alpha1.JobRunStatus {
	status := *run.Status.DeepCopy()
	status.Phase = ""
	status.Error = oneLine(fmt.Sprintf("waits for its key: run %s is pending", pending))
	return status
}
