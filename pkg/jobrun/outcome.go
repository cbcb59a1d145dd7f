// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Outcome is how a trigger ended.
type Outcome struct {
	// JobRun is the trigger's own, as it was seen last.
	JobRun *v1alpha1.JobRun
	// Disposition is what became of the trigger in the end: Coalesced or Idempotent
	// if another run stood for it, else Created, also of one that was cancelled
	// before it executed. It can differ from what the trigger was answered.
	Disposition v1alpha1.Disposition
	// Run stood for the trigger in the end: JobRun itself if Created.
	Run v1alpha1.ObjectReference
	// Output is the output of that run; nil if there is none. A receipt may have had
	// no room for it: then Run has it.
	Output *apiextensionsv1.JSON
}

// standIn is the run that stands for a JobRun other than itself, as far as that
// is settled.
func standIn(run *v1alpha1.JobRun) (v1alpha1.ObjectReference, bool) {
	if ref := run.Status.RunRef; ref != nil && ref.UID != "" && ref.UID != run.UID {
		return *ref, true
	}
	return v1alpha1.ObjectReference{}, false
}

// dispositionOf is what has become of a trigger so far.
func dispositionOf(run *v1alpha1.JobRun) v1alpha1.Disposition {
	switch run.Status.Phase {
	case v1alpha1.PhaseCoalesced:
		return v1alpha1.DispositionCoalesced
	case v1alpha1.PhaseIdempotent:
		return v1alpha1.DispositionIdempotent
	case "":
		if run.Spec.Admission != nil {
			return run.Spec.Admission.Disposition
		}
		return ""
	default:
		return v1alpha1.DispositionCreated
	}
}

// runOf is the run that stands for a JobRun, as far as that is settled.
func runOf(run *v1alpha1.JobRun) v1alpha1.ObjectReference {
	if ref, ok := standIn(run); ok {
		return ref
	}
	if dispositionOf(run) == v1alpha1.DispositionCreated {
		return v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
	}
	return v1alpha1.ObjectReference{}
}

// cancelledAlone reports whether a receipt was cancelled itself. The run that
// stood for it may go on.
func cancelledAlone(receipt *v1alpha1.JobRun) bool {
	_, isReceipt := standIn(receipt)
	return isReceipt && receipt.Outcome() == v1alpha1.PhaseCancelled && receipt.CancelRequested()
}

// failure is the error that tells how own ended, if not well: run has its
// outcome.
func failure(runName string, run *v1alpha1.JobRun) error {
	switch run.Outcome() {
	case v1alpha1.PhaseFailed:
		reason, message := explain(run, v1alpha1.ConditionFailed)
		return &FailedError{RunName: runName, Reason: reason, Message: message}
	case v1alpha1.PhaseCancelled:
		reason, message := explain(run, v1alpha1.ConditionCancelled)
		return &CancelledError{RunName: runName, Reason: reason, Message: message}
	default:
		return nil
	}
}

// explain prefers the error, which is one line for people.
func explain(run *v1alpha1.JobRun, condition string) (reason, message string) {
	message = run.Status.Error
	if c := meta.FindStatusCondition(run.Status.Conditions, condition); c != nil {
		reason = c.Reason
		if message == "" {
			message = c.Message
		}
	}
	if message == "" {
		message = "no reason was given"
	}
	return reason, message
}
