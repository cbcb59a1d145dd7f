// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file checks P14: a JobRun that was restored from a backup takes no key, does not execute and counts nothing.

// isRestored reports whether a restore created a JobRun. No other JobRun of a simulation has the label.
func isRestored(run *v1alpha1.JobRun) bool { return run.Labels[v1alpha1.LabelVeleroRestore] != "" }

// neverRuns checks a write of a JobRun.
func (j *Judge) neverRuns(run *v1alpha1.JobRun) {
	if !isRestored(run) {
		return
	}
	status := run.Status
	if status.Phase != "" && status.Phase != v1alpha1.PhaseCancelled || status.Lease != nil || status.Coalesced != nil {
		j.fail("P14: %s was restored, and has phase %q, lease %v, counted %v", describe(run), status.Phase, status.Lease, status.Coalesced)
	}
	for _, key := range j.keys {
		j.namesNoRestored(key.Name, &key.Spec, run)
	}
}

// takesNoKey checks a write of a RunKey.
func (j *Judge) takesNoKey(name string, key *v1alpha1.RunKeySpec) {
	for _, run := range j.runs {
		if isRestored(run) {
			j.namesNoRestored(name, key, run)
		}
	}
}

func (j *Judge) namesNoRestored(name string, key *v1alpha1.RunKeySpec, restored *v1alpha1.JobRun) {
	id := runkey.IdentityOf(restored)
	for _, named := range []runkey.Identity{runkey.Pending(key), runkey.Line(key), runkey.Leased(key), runkey.Owner(key)} {
		if named == id {
			j.fail("P14: RunKey %s names %s, which was restored", name, describe(restored))
		}
	}
}

// endsRestored checks at rest that a restored JobRun is Cancelled, for that reason.
func (j *Judge) endsRestored(run *v1alpha1.JobRun) error {
	if !isRestored(run) || run.Status.Phase == v1alpha1.PhaseCancelled {
		return nil
	}
	return fmt.Errorf("P14: %s was restored, and is not Cancelled", describe(run))
}
