// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// EventType is the type of an Event.
type EventType string

const (
	// EventTrigger means that there is a new run: a JobRun that was answered Created, or a receipt that became a run
	// because no other run stands for it.
	EventTrigger EventType = "run:trigger"
	// EventCoalesced means that the run absorbed a trigger, or several that share a receipt. Event.Skipped is that trigger, or the
	// first of them.
	EventCoalesced EventType = "run:coalesced"
	// EventLeased means that a holder acquired the run's lease.
	EventLeased EventType = "run:leased"
	// EventProgress means that the run's progress changed.
	EventProgress EventType = "run:progress"
	// EventComplete means that the run completed.
	EventComplete EventType = "run:complete"
	// EventFail means that the run failed.
	EventFail EventType = "run:fail"
	// EventCancel means that the run was cancelled.
	EventCancel EventType = "run:cancel"
	// EventDelete means that the run no longer exists.
	EventDelete EventType = "run:delete"
)

// Event is something that happened to a run.
type Event struct {
	// Type is what happened.
	Type EventType
	// Run is the state of the run that showed the event. It may be later than the event. In an EventDelete it is the
	// last state that was seen. In an EventCoalesced whose run no longer exists it has only the namespace, name,
	// uid and jobName. Events share it: do not change it.
	Run *v1alpha1.JobRun
	// Skipped is the absorbed trigger of an EventCoalesced. Its input and labels are complete if its receipt was seen,
	// else they are those of status.coalesced.recent, which may be cut. It is nil if neither was seen.
	Skipped *v1alpha1.CoalescedTrigger
	// Generation is the generation of the lease of an EventLeased. It is 0 if that lease was over before it was seen.
	Generation int64
	// Count is how many events this one stands for. It is more than 1 only for an EventCoalesced without Skipped or with
	// Skipped.Represents, and for an EventLeased without Generation. The triggers that a run represents itself, but for the first
	// one, are an EventCoalesced without Skipped.
	Count int64
}

// isRun reports whether a JobRun is known to be a run. A receipt may become one.
func isRun(run *v1alpha1.JobRun) bool {
	switch run.Status.Phase {
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		return false
	case "":
	default:
		return true
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID != "" {
		return ref.UID == run.UID
	}
	return run.Spec.Admission != nil && run.Spec.Admission.Disposition == v1alpha1.DispositionCreated
}

// absorber returns the run that absorbed the receipt's trigger.
func absorber(receipt *v1alpha1.JobRun) (v1alpha1.ObjectReference, bool) {
	if receipt.Status.Phase != v1alpha1.PhaseCoalesced {
		return v1alpha1.ObjectReference{}, false
	}
	return standIn(receipt)
}

// entryOf returns the uncut entry of status.coalesced.recent for a receipt.
func entryOf(receipt *v1alpha1.JobRun) *v1alpha1.CoalescedTrigger {
	entry := &v1alpha1.CoalescedTrigger{
		Name:   receipt.Name,
		UID:    receipt.UID,
		Time:   receipt.CreationTimestamp.DeepCopy(),
		Input:  receipt.InputText(),
		Labels: receipt.CallersLabels(),
	}
	if n := receipt.Represented(); n > 1 {
		entry.Represents = int32(n)
	}
	return entry
}

// heldGeneration returns the generation of the lease that is held or was held until the run ended, or 0.
func heldGeneration(run *v1alpha1.JobRun) int64 {
	lease := run.Status.Lease
	if lease == nil || lease.HolderIdentity == "" {
		return 0
	}
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionFailed); c != nil && isLeaseLost(c.Reason) {
		return 0 // status.attempts counts this lease.
	}
	return lease.Generation
}
