// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Grant answers an external worker that claims a run: the waiting run is leased
// to it if nobody executes. A claim that the key has granted before and that was
// not stored is granted again, under the same generation: the version of the
// JobRun decides who of the two holds the lease.
//
// version is the resourceVersion of the key that the answer is based on.
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
