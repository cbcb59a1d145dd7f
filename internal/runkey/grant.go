// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Grant leases the waiting run to an external worker if no run executes. version is the resourceVersion of
// key.
//
// The key may have granted an earlier claim of the run that is not stored on the JobRun. Grant then grants
// the lease again, under the same generation. The API server stores only one of the two claims, because both
// name the version of the JobRun that they are based on.
func Grant(key *v1alpha1.RunKeySpec, version string, run *v1alpha1.JobRun) (next *v1alpha1.RunKeySpec, ok bool) {
	switch {
	case Leased(key) == IdentityOf(run) && run.LeaseGeneration() < key.Leased.Generation:
		next = key.DeepCopy()
		next.Leased.FromVersion = version
		return next, true
	case Pending(key) == IdentityOf(run):
		return Claim(key, version, run.LeaseGeneration())
	default:
		return nil, false
	}
}
