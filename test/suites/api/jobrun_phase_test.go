// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const noPhase v1alpha1.Phase = ""

var phases = []v1alpha1.Phase{
	noPhase,
	v1alpha1.PhasePending, v1alpha1.PhaseLeased,
	v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled,
	v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent,
}

// successors are the phases that may follow a phase. A phase may always stay as it is.
var successors = map[v1alpha1.Phase][]v1alpha1.Phase{
	noPhase: {
		v1alpha1.PhasePending, v1alpha1.PhaseLeased, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled,
		v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent,
	},
	v1alpha1.PhasePending: {noPhase, v1alpha1.PhaseLeased, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled},
	v1alpha1.PhaseLeased: {
		noPhase, v1alpha1.PhasePending, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled,
	},
}

// histories lead to each phase, with and without a lease.
var histories = map[string]struct {
	phase      v1alpha1.Phase
	generation int // of the lease; 0 without one
	statuses   []string
}{
	"nothing":                 {},
	"Pending":                 {v1alpha1.PhasePending, 0, []string{"{phase: Pending}"}},
	"Pending again":           {v1alpha1.PhasePending, 2, []string{leased, "{phase: Pending, lease: {generation: 2, holderIdentity: null}}"}},
	"Leased":                  {v1alpha1.PhaseLeased, 1, []string{leased}},
	"Completed":               {v1alpha1.PhaseCompleted, 1, []string{leased, "{phase: Completed, finishedGeneration: 1}"}},
	"Failed":                  {v1alpha1.PhaseFailed, 1, []string{leased, "{phase: Failed, finishedGeneration: 1}"}},
	"Failed while waiting":    {v1alpha1.PhaseFailed, 0, []string{"{phase: Pending}", "{phase: Failed}"}},
	"Cancelled":               {v1alpha1.PhaseCancelled, 1, []string{leased, "{phase: Cancelled, finishedGeneration: 1}"}},
	"Cancelled while waiting": {v1alpha1.PhaseCancelled, 0, []string{"{phase: Pending}", "{phase: Cancelled}"}},
	"Coalesced":               {v1alpha1.PhaseCoalesced, 0, []string{"{phase: Coalesced}"}},
	"Idempotent":              {v1alpha1.PhaseIdempotent, 0, []string{"{phase: Idempotent}"}},
}

const leased = "{phase: Leased, lease: {generation: 1, holderIdentity: worker}}"

func TestJobRunPhaseTransitions(t *testing.T) {
	for name, from := range histories {
		for _, to := range phases {
			t.Run(fmt.Sprintf("%s, then %q", name, to), func(t *testing.T) {
				t.Parallel()
				run := create(t, "JobRun", "spec: {jobName: a}")
				mustPatchStatus(t, run, from.statuses...)
				want := refusal{}
				if from.phase != to && !slices.Contains(successors[from.phase], to) {
					want = refusal{"status.phase", "status.phase may not change like this; terminal phases are final"}
				}
				want.check(t, patchStatus(t, run, entering(to, from.generation)))
			})
		}
	}
}

// A waiting run becomes a receipt only if it has coalesce.
func TestJobRunDisplaced(t *testing.T) {
	run := create(t, "JobRun", "spec: {jobName: a, concurrencyKey: k, coalesce: Skip}")
	mustPatchStatus(t, run, "{phase: Pending}", "{phase: Coalesced, runRef: {name: b}}", "{runRef: {name: c}}")
	want := refusal{"status.phase", "status.phase may not change like this; terminal phases are final"}
	want.check(t, patchStatus(t, run, "{phase: Pending}"))
}

// A worker may claim a run that has no phase yet, and so before the operator ends what was restored.
func TestRestoredJobRunIsNeverLeased(t *testing.T) {
	run := create(t, "JobRun", "spec: {jobName: a, cancel: true, admission: {disposition: Created, runName: a, runToken: t, "+
		"token: t, executor: Worker, restore: nightly}}")
	want := refusal{"status.phase", "a JobRun that was restored from a backup never executes"}
	want.check(t, patchStatus(t, run, leased))
	refusal{}.check(t, patchStatus(t, run, "{phase: Cancelled}"))
}

// entering returns a patch that only the rule about transitions can refuse.
func entering(phase v1alpha1.Phase, generation int) string {
	nobody := ""
	if generation > 0 {
		nobody = fmt.Sprintf(", lease: {generation: %d, holderIdentity: null}", generation+1)
	}
	switch phase {
	case noPhase:
		return "{phase: null, error: waits" + nobody + "}"
	case v1alpha1.PhasePending:
		return "{phase: Pending" + nobody + "}"
	case v1alpha1.PhaseLeased:
		return fmt.Sprintf("{phase: Leased, lease: {generation: %d, holderIdentity: other}, finishedGeneration: null}", generation+1)
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled:
		if generation > 0 {
			return fmt.Sprintf("{phase: %s, finishedGeneration: %d}", phase, generation)
		}
	}
	return fmt.Sprintf("{phase: %s}", phase)
}
