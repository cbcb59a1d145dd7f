// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A claim drops what the operator wrote about the run while it waited.
func TestClaimOf(t *testing.T) {
	run := &v1alpha1.JobRun{}
	run.ResourceVersion, run.Status.Phase = "7", v1alpha1.PhasePending
	run.Status.Error = "no worker has claimed this run for 30s"
	run.Status.Lease = &v1alpha1.RunLease{Generation: 2}
	claim := ClaimOf(run, "w", time.Minute, time.Unix(9, 0))
	s := claim.Status
	if s.Phase != v1alpha1.PhaseLeased || s.Error != "" || s.Lease.HolderIdentity != "w" || s.Lease.Generation != 3 || s.Lease.DurationSeconds != 60 {
		t.Errorf("status %+v, lease %+v", s, s.Lease)
	}
	if claim.ResourceVersion != "7" || run.Status.Error == "" {
		t.Errorf("version %s; the run that was read has status %+v", claim.ResourceVersion, run.Status)
	}
}
