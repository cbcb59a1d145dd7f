// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Home returns the name of what a JobRun contends for: its concurrency RunKey, or itself if it has no
// concurrencyKey.
func Home(run *v1alpha1.JobRun) string {
	if run.Spec.ConcurrencyKey == "" {
		return RunHome(run.Name)
	}
	return v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
}

// RunHome returns the home of a run without a concurrencyKey.
func RunHome(name string) string { return "run/" + name }
