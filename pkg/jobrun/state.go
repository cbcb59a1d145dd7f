// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// isRun reports whether a JobRun is a run for all that is known. A receipt can
// become one.
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

// absorber is the run that absorbed a trigger.
func absorber(receipt *v1alpha1.JobRun) (v1alpha1.ObjectReference, bool) {
	if receipt.Status.Phase != v1alpha1.PhaseCoalesced {
		return v1alpha1.ObjectReference{}, false
	}
	return standIn(receipt)
}

// entryOf is what status.coalesced.recent would say of a receipt, uncut.
func entryOf(receipt *v1alpha1.JobRun) *v1alpha1.CoalescedTrigger {
	return &v1alpha1.CoalescedTrigger{
		Name:   receipt.Name,
		UID:    receipt.UID,
		Time:   receipt.CreationTimestamp.DeepCopy(),
		Input:  receipt.InputText(),
		Labels: receipt.CallersLabels(),
	}
}

// heldGeneration is that of the lease that is held or was held to the end; 0 if
// there is none.
func heldGeneration(run *v1alpha1.JobRun) int64 {
	lease := run.Status.Lease
	if lease == nil || lease.HolderIdentity == "" {
		return 0
	}
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionFailed); c != nil && c.Reason == reasonLeaseExpired {
		return 0 // attempts counts it
	}
	return lease.Generation
}
