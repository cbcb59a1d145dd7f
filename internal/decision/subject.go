// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"cmp"
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Subject names what a plan is about, for logs and errors. What the plan does not tell is empty.
type Subject struct{ Run, JobName, Key string }

// String writes a subject as "run NAME (job JOB, key KEY)".
func (s Subject) String() string {
	text := "run " + cmp.Or(s.Run, "(none)")
	switch {
	case s.Key != "":
		return fmt.Sprintf("%s (job %s, key %q)", text, s.JobName, s.Key)
	case s.JobName != "":
		return fmt.Sprintf("%s (job %s)", text, s.JobName)
	default:
		return text
	}
}

// SubjectOf returns the run of the first operation that has a JobRun, or else the run that the key names: the one
// that executes, that waits, or that owns it.
func SubjectOf(plan Plan, key *v1alpha1.RunKey) Subject {
	for _, op := range plan.Ops {
		if run := runOf(op); run != nil {
			return Subject{Run: run.Name, JobName: run.Spec.JobName, Key: run.Spec.ConcurrencyKey}
		}
	}
	if key == nil {
		return Subject{}
	}
	run := cmp.Or(runkey.Leased(&key.Spec), runkey.Pending(&key.Spec), runkey.Owner(&key.Spec))
	return Subject{Run: run.RunName, JobName: key.Spec.JobName, Key: key.Spec.Key}
}

func runOf(op Op) *v1alpha1.JobRun {
	switch op := op.(type) {
	case CheckRun:
		return op.Run
	case CreateJob:
		return op.Run
	case WriteStatus:
		return op.Run
	case DeleteRun:
		return op.Run
	default:
		return nil
	}
}
