// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A run that nothing but the webhook decides about can be claimed before it reads Pending.
func TestClaimable(t *testing.T) {
	made := func() *wrappers.JobRunWrapper { return wrappers.MakeJobRun("a").Created() }
	defined := made()
	defined.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync"}
	announced := defined.DeepCopy()
	announced.Status.Phase = v1alpha1.PhasePending
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		want bool
	}{
		"new":                             {made(), true},
		"new, cancelled":                  {made().Cancel(), false},
		"new, being deleted":              {made().Deleting(), false},
		"new, executed by a Job":          {made().Template(), false},
		"new, with a concurrencyKey":      {made().Key("k"), false},
		"new, with an idempotencyKey":     {made().IdempotencyKey("i"), false},
		"new, of a batch":                 {made().Batch("a"), false},
		"new, of a definition":            {defined, false},
		"new, absorbed":                   {made().CoalescedBy("b", "5"), false},
		"new, without the webhook":        {wrappers.MakeJobRun("a"), false},
		"the operator wrote without it":   {made().Stored("5"), false},
		"it lost a lease":                 {made().Leased(1, "").Fenced().Phase(""), false},
		"Pending":                         {made().Pending(), true},
		"Pending, with a concurrencyKey":  {made().Key("k").Pending(), true},
		"Pending, with an idempotencyKey": {made().IdempotencyKey("i").Pending(), true},
		"Pending, of a definition":        {&wrappers.JobRunWrapper{JobRun: *announced}, true},
		"Pending, cancelled":              {made().Pending().Cancel(), false},
		"Leased":                          {made().Leased(1, ""), false},
		"ended":                           {made().Ended(v1alpha1.PhaseFailed), false},
	} {
		if got := Claimable(tc.run.Obj()); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A claim before the announcement writes what the announcement would have written.
func TestClaimOfAnUnannouncedRun(t *testing.T) {
	run := wrappers.MakeJobRun("a").Created().ResourceVersion("7").Obj()
	s := ClaimOf(run, "w", time.Minute, time.Unix(9, 0)).Status
	if s.Phase != v1alpha1.PhaseLeased || s.Stored != "7" || s.RunRef == nil || s.RunRef.UID != run.UID || s.Lease.Generation != 1 {
		t.Errorf("status %+v, lease %+v", s, s.Lease)
	}
}

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
