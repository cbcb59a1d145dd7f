// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file checks JobRuns that stand for several triggers: spec.represents.

// weight returns the number of triggers that a receipt stands for.
func (j *Judge) weight(receipt types.UID) int64 {
	if run := j.everRuns[receipt]; run != nil {
		return run.Represented()
	}
	return 1
}

// countsItself checks that a run counts the triggers that it represents in the write that gives it a phase or an outcome, and that a
// receipt leaves that to its run.
func (j *Judge) countsItself(old, run *v1alpha1.JobRun) {
	if run.Represented() == 1 {
		return
	}
	switch counted := run.Status.Coalesced; {
	case run.IsReceipt():
		if old.Status.Coalesced == nil && counted != nil {
			j.fail("I3: receipt %s counts %d triggers, as its run does", describe(run), counted.Count)
		}
	case run.Status.Phase != "" && counted == nil:
		j.fail("I3: %s does not count the %d triggers that it represents", describe(run), run.Represented())
	}
}

// storedOnce checks that the create of a trigger, however often it is sent, stores one JobRun, unless people deleted that one.
func (j *Judge) storedOnce(run *v1alpha1.JobRun) {
	id := run.Annotations[v1alpha1.AnnotationTrigger]
	if id == "" {
		return
	}
	if first, again := j.sent[id]; again && j.o.Kept(first) {
		j.fail("I3: the create of %s is stored again: its triggers count twice", describe(run))
	}
	j.sent[id] = run.UID
}

// standsAlone checks that nobody cancels a JobRun that stands for several triggers before it executes.
func (j *Judge) standsAlone(e *Event, run *v1alpha1.JobRun) {
	old, existed := e.Old.(*v1alpha1.JobRun)
	if !existed || old == nil || run.Represented() == 1 || old.CancelRequested() || !run.CancelRequested() {
		return
	}
	if old.Status.Phase != v1alpha1.PhaseLeased && !old.HasOutcome() {
		j.fail("represents: %s is cancelled, though it stands for %d triggers", describe(run), run.Represented())
	}
}

// countsAll checks I3 at rest: an ended run counts the triggers that it represents, but for itself, and those of each receipt that it
// ever counted.
func (j *Judge) countsAll(run *v1alpha1.JobRun) error {
	if !run.HasEnded() {
		return nil
	}
	want := run.Represented() - 1
	for receipt := range j.counted[run.UID] {
		want += j.weight(receipt)
	}
	got := int64(0)
	if run.Status.Coalesced != nil {
		got = run.Status.Coalesced.Count
	}
	if got != want {
		return fmt.Errorf("I3: %s counts %d triggers, but stands for %d others", describe(run), got, want)
	}
	return nil
}
