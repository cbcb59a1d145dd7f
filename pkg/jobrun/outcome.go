// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"cmp"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Outcome is how a trigger ended.
type Outcome struct {
	// JobRun is the last state seen of the trigger's own JobRun.
	JobRun *v1alpha1.JobRun
	// Disposition is Coalesced or Idempotent if another run stood for the trigger, else Created, even if the run was
	// cancelled before it executed. It may differ from the disposition in the TriggerResult.
	Disposition v1alpha1.Disposition
	// Run is the run that stood for the trigger: JobRun itself if Created.
	Run v1alpha1.ObjectReference
	// Output is the run's output, or nil if there is none. It is also nil if the receipt had no room for it; then read
	// the JobRun that Run names.
	Output *apiextensionsv1.JSON
}

// standIn returns the other run that stands for a JobRun, once that is settled.
func standIn(run *v1alpha1.JobRun) (v1alpha1.ObjectReference, bool) {
	if ref := run.Status.RunRef; ref != nil && ref.UID != "" && ref.UID != run.UID {
		return *ref, true
	}
	return v1alpha1.ObjectReference{}, false
}

// dispositionOf returns the disposition of a trigger so far.
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

// runOf returns the run that stands for a JobRun, once that is settled.
func runOf(run *v1alpha1.JobRun) v1alpha1.ObjectReference {
	if ref, ok := standIn(run); ok {
		return ref
	}
	if dispositionOf(run) == v1alpha1.DispositionCreated {
		return v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
	}
	return v1alpha1.ObjectReference{}
}

// cancelledAlone reports whether a receipt itself was cancelled. The run that stood for it may go on.
func cancelledAlone(receipt *v1alpha1.JobRun) bool {
	_, isReceipt := standIn(receipt)
	return isReceipt && receipt.Outcome() == v1alpha1.PhaseCancelled && receipt.CancelRequested()
}

// failure returns the error for the outcome of run, or nil if run completed.
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

// explain returns the reason of the condition, and status.error or else the condition's message.
func explain(run *v1alpha1.JobRun, condition string) (reason, message string) {
	message = run.Status.Error
	if c := meta.FindStatusCondition(run.Status.Conditions, condition); c != nil {
		reason, message = c.Reason, cmp.Or(message, c.Message)
	}
	return reason, cmp.Or(message, "no reason was given")
}
