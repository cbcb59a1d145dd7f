// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// The functions below use the fields of the JobRun alone. They do not know what other objects record about
// it, such as a RunKey or the run that counted it.

// HasEnded reports whether the JobRun is a run that has ended: Completed, Failed or Cancelled.
func (r *JobRun) HasEnded() bool {
	switch r.Status.Phase {
	case PhaseCompleted, PhaseFailed, PhaseCancelled:
		return true
	default:
		return false
	}
}

// IsReceipt reports whether the JobRun is a bound receipt: Coalesced or Idempotent.
func (r *JobRun) IsReceipt() bool {
	return r.Status.Phase == PhaseCoalesced || r.Status.Phase == PhaseIdempotent
}

// HasOutcome reports whether a run has ended, or a receipt has the outcome of its run.
func (r *JobRun) HasOutcome() bool {
	return r.HasEnded() || (r.IsReceipt() && r.Status.CompletionTime != nil)
}

// Outcome returns how the run, or the run that stands for a receipt, ended: Completed, Failed or Cancelled.
// It is empty until that is recorded.
func (r *JobRun) Outcome() Phase {
	if r.HasEnded() {
		return r.Status.Phase
	}
	for i, condition := range outcomeConditions {
		if meta.IsStatusConditionTrue(r.Status.Conditions, condition) {
			return outcomePhases[i]
		}
	}
	return ""
}

// MisstatesOutcome reports whether the operator must write the status of a JobRun with an outcome again, for kstatus to
// read that outcome: the status describes an earlier generation, or its Ready condition is that of a run without
// this outcome. A JobRun of a version without Ready is left as it is, and so is one that is being deleted.
func (r *JobRun) MisstatesOutcome() bool {
	if !r.HasOutcome() || r.DeletionTimestamp != nil {
		return false
	}
	ready := meta.FindStatusCondition(r.Status.Conditions, ConditionReady)
	stalled := meta.IsStatusConditionTrue(r.Status.Conditions, ConditionStalled)
	completed := r.Outcome() == PhaseCompleted
	return r.Status.ObservedGeneration != r.Generation ||
		ready != nil && ((ready.Status == metav1.ConditionTrue) != completed || stalled == completed)
}

// outcomeConditions are the conditions with which a JobRun has an outcome. outcomePhases are the phases of
// runs with these outcomes, in the same order.
var (
	outcomeConditions = []string{ConditionComplete, ConditionFailed, ConditionCancelled}
	outcomePhases     = []Phase{PhaseCompleted, PhaseFailed, PhaseCancelled}
)

// OutcomeCondition returns the condition that is True on a JobRun with the outcome phase. It is empty if
// phase is not an outcome.
func OutcomeCondition(phase Phase) string {
	if i := slices.Index(outcomePhases, phase); i >= 0 {
		return outcomeConditions[i]
	}
	return ""
}

// IsOutcomeCondition reports whether a condition of this type shows how a JobRun ended.
func IsOutcomeCondition(condition string) bool {
	return slices.Contains(outcomeConditions, condition)
}

// CancelRequested reports whether spec.cancel is true.
func (r *JobRun) CancelRequested() bool { return r.Spec.Cancel != nil && *r.Spec.Cancel }

// EndRequested reports whether the run must not execute any more: the JobRun is cancelled, or is being
// deleted while a finalizer keeps it.
func (r *JobRun) EndRequested() bool { return r.CancelRequested() || r.DeletionTimestamp != nil }

// RunsAsJob reports whether a Job executes the run. Otherwise an external worker does.
func (r *JobRun) RunsAsJob() bool { return r.Executor() == ExecutorJob }

// Executor returns what executes the run. spec.admission.executor says it. A JobRun that was stored without the webhook,
// or by one that did not know definitions, does not have that field: its template says it.
func (r *JobRun) Executor() Executor {
	switch {
	case r.Spec.Admission != nil && r.Spec.Admission.Executor != "":
		return r.Spec.Admission.Executor
	case r.Spec.Template != nil:
		return ExecutorJob
	default:
		return ExecutorWorker
	}
}

// NeedsDefinition reports whether the Job of the run is made from the template of its JobDefinition.
func (r *JobRun) NeedsDefinition() bool { return r.RunsAsJob() && r.Spec.Template == nil }

// LeaseGeneration returns the generation of the run's last lease: 0 before the first one, and for nil.
func (r *JobRun) LeaseGeneration() int64 {
	if r == nil || r.Status.Lease == nil {
		return 0
	}
	return r.Status.Lease.Generation
}

// IsHeld reports whether the lease has a holder. A lease that expired or was given back has none.
func (r *JobRun) IsHeld() bool { return r.Status.Lease != nil && r.Status.Lease.HolderIdentity != "" }

// ClaimableUnannounced reports whether a worker may claim the run before the operator has written Pending, or anything else.
// Nothing but the webhook's answer decides about such a run: it has no keys, no batch and no definition.
func (r *JobRun) ClaimableUnannounced() bool {
	untouched := r.Status.Phase == "" && r.Status.Stored == "" && r.Status.Lease == nil
	alone := r.Spec.ConcurrencyKey == "" && r.Spec.IdempotencyKey == "" && r.Spec.Batch == nil
	answered := !r.BypassedWebhook() && !r.WasAbsorbed() && r.Spec.Admission.Definition == nil
	return untouched && alone && answered && !r.RunsAsJob() && !r.EndRequested()
}

// WasAbsorbed reports whether the webhook answered the trigger with another run: Coalesced or Idempotent. The
// receipt may have been promoted since.
func (r *JobRun) WasAbsorbed() bool {
	return r.Spec.Admission != nil && r.Spec.Admission.Disposition != DispositionCreated
}

// BypassedWebhook reports whether the JobRun was stored without the webhook. Its trigger has no answer yet.
func (r *JobRun) BypassedWebhook() bool { return r.Spec.Admission == nil }

// WasRestored reports whether a restore created the JobRun from a backup. It stands for no trigger.
func (r *JobRun) WasRestored() bool { return r.Spec.Admission != nil && r.Spec.Admission.Restore != "" }

// WasRun reports whether the status shows that the JobRun was a run at some time: it announced itself, was
// leased, or counted triggers. Receipts may be bound to it.
func (r *JobRun) WasRun() bool {
	return r.RefersToItself() || r.Status.Coalesced != nil || r.Status.Lease != nil
}

// RefersToItself reports whether status.runRef names the JobRun itself.
func (r *JobRun) RefersToItself() bool {
	return r.Status.RunRef != nil && r.Status.RunRef.UID == r.UID
}

// Represented returns the number of triggers that the JobRun stands for by itself: 1 without spec.represents. A run may also
// stand for receipts, which are not included. A JobRun that was restored from a backup does not count what it stood for again.
func (r *JobRun) Represented() int64 {
	if r.Spec.Represents == nil || r.WasRestored() {
		return 1
	}
	return max(1, int64(r.Spec.Represents.Count))
}

// LeadsBatch reports whether the JobRun is the leader of a batch.
func (r *JobRun) LeadsBatch() bool { return r.Spec.Batch != nil && r.Spec.Batch.Leader == r.Name }

// AwaitsBatch reports whether the JobRun is a member of a batch, has not ended, and does not record what
// became of the batch.
func (r *JobRun) AwaitsBatch() bool {
	return r.Spec.Batch != nil && r.Status.Batch == nil && !r.HasEnded()
}

// CallersLabels returns the labels that the webhook did not stamp.
func (r *JobRun) CallersLabels() map[string]string {
	labels := maps.Clone(r.Labels)
	for _, stamped := range StampedLabels {
		delete(labels, stamped)
	}
	return labels
}

// InputText returns spec.input as JSON text. It is empty without an input.
func (r *JobRun) InputText() string {
	if r.Spec.Input == nil {
		return ""
	}
	return string(r.Spec.Input.Raw)
}

// CompareStored orders JobRuns by the version with which they were created, oldest first. A JobRun that the operator has
// not written yet still has that version, unless another client has changed it. CompareStored compares the age where
// versions are equal or cannot be compared.
func CompareStored(a, b *JobRun) int {
	order, err := resourceversion.CompareResourceVersion(a.storedVersion(), b.storedVersion())
	if err != nil || order == 0 {
		return CompareAge(a, b)
	}
	return order
}

// storedVersion returns the version with which a JobRun was created, as far as it is known.
func (r *JobRun) storedVersion() string { return cmp.Or(r.Status.Stored, r.ResourceVersion) }

// CompareAge orders JobRuns by creationTimestamp, oldest first. It compares names where the timestamps are
// equal, because they have whole seconds only.
func CompareAge(a, b *JobRun) int {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	}
	return strings.Compare(a.Name, b.Name)
}
