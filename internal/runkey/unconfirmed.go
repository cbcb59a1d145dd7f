// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Unconfirmed returns the Jobs of a key that may still appear.
func Unconfirmed(key *v1alpha1.RunKeySpec) []v1alpha1.UnconfirmedJob {
	if key == nil {
		return nil
	}
	return key.Unconfirmed
}

// Note returns next with a note that a Job may still appear. next is what a transition of key returned; if it is nil, the
// row stays for the note.
func Note(key, next *v1alpha1.RunKeySpec, job v1alpha1.UnconfirmedJob) *v1alpha1.RunKeySpec {
	noted := &v1alpha1.RunKeySpec{Kind: key.Kind, JobName: key.JobName, Key: key.Key}
	if next != nil {
		noted = next.DeepCopy()
	}
	if !slices.Contains(noted.Unconfirmed, job) {
		noted.Unconfirmed = append(noted.Unconfirmed, job)
	}
	return noted
}

// Confirm removes the notes about Jobs that cannot appear any more. It returns nil if that leaves nothing of the row.
func Confirm(key *v1alpha1.RunKeySpec, jobs []v1alpha1.UnconfirmedJob) *v1alpha1.RunKeySpec {
	next := key.DeepCopy()
	next.Unconfirmed = slices.DeleteFunc(next.Unconfirmed, func(job v1alpha1.UnconfirmedJob) bool { return slices.Contains(jobs, job) })
	if len(next.Unconfirmed) == 0 {
		next.Unconfirmed = nil
	}
	return nilIfFree(next)
}
