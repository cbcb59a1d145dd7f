// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"cmp"
	"fmt"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Subject names the run and the key of a plan, for logs and errors. A field is empty if it is not known.
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

// SubjectOf returns the subject of a plan: the run of the first operation that has a JobRun. If there is none, it
// is the run that executes for the key, or that waits for it, or that owns it.
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
