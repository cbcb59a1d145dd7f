// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
)

// What a JobRun says about itself, from its own fields alone. What others say of
// it, a RunKey or the run that counted it, is not here.

// HasEnded reports whether the phase is Completed, Failed or Cancelled: a run at
// its end.
func (r *JobRun) HasEnded() bool {
	switch r.Status.Phase {
	case PhaseCompleted, PhaseFailed, PhaseCancelled:
		return true
	default:
		return false
	}
}

// IsReceipt reports whether the phase is Coalesced or Idempotent: a receipt that
// is bound to a run.
func (r *JobRun) IsReceipt() bool {
	return r.Status.Phase == PhaseCoalesced || r.Status.Phase == PhaseIdempotent
}

// HasOutcome reports whether a run has ended, or a receipt has the outcome of
// its run.
func (r *JobRun) HasOutcome() bool {
	return r.HasEnded() || (r.IsReceipt() && r.Status.CompletionTime != nil)
}

// Outcome is how a run ended, or the run that stands for a receipt: Completed,
// Failed or Cancelled; empty as long as that is not recorded.
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

// outcomeConditions are the conditions that say how a JobRun ended, and outcomePhases
// the phases of runs that ended so.
var (
	outcomeConditions = []string{ConditionComplete, ConditionFailed, ConditionCancelled}
	outcomePhases     = []Phase{PhaseCompleted, PhaseFailed, PhaseCancelled}
)

// OutcomeCondition is the condition that is True on a JobRun with that outcome; empty
// for a phase that is none.
func OutcomeCondition(phase Phase) string {
	if i := slices.Index(outcomePhases, phase); i >= 0 {
		return outcomeConditions[i]
	}
	return ""
}

// IsOutcomeCondition reports whether a type of condition says how a JobRun ended.
func IsOutcomeCondition(condition string) bool {
	return slices.Contains(outcomeConditions, condition)
}

// CancelRequested reports whether spec.cancel is true.
func (r *JobRun) CancelRequested() bool { return r.Spec.Cancel != nil && *r.Spec.Cancel }

// EndRequested reports whether the JobRun is cancelled, or is being deleted but
// kept by a finalizer: it must not execute any more.
func (r *JobRun) EndRequested() bool { return r.CancelRequested() || r.DeletionTimestamp != nil }

// RunsAsJob reports whether a Job executes the run. An external worker executes
// it otherwise.
func (r *JobRun) RunsAsJob() bool { return r.Spec.Template != nil }

// LeaseGeneration is the generation of the run's last lease; 0 before the first
// one, and for nil.
func (r *JobRun) LeaseGeneration() int64 {
	if r == nil || r.Status.Lease == nil {
		return 0
	}
	return r.Status.Lease.Generation
}

// IsHeld reports whether the lease has a holder. A lease that expired or was
// given back has none.
func (r *JobRun) IsHeld() bool { return r.Status.Lease != nil && r.Status.Lease.HolderIdentity != "" }

// WasAbsorbed reports whether the trigger was answered with another run:
// Coalesced or Idempotent. The receipt may have been promoted since.
func (r *JobRun) WasAbsorbed() bool {
	return r.Spec.Admission != nil && r.Spec.Admission.Disposition != DispositionCreated
}

// BypassedWebhook reports whether the JobRun was stored without the webhook, so
// that its trigger has no answer yet.
func (r *JobRun) BypassedWebhook() bool { return r.Spec.Admission == nil }

// WasRun reports whether the status says that the JobRun was a run once: it
// announced itself, was leased, or counted triggers. Receipts may be bound to it.
func (r *JobRun) WasRun() bool {
	return r.RefersToItself() || r.Status.Coalesced != nil || r.Status.Lease != nil
}

// RefersToItself reports whether status.runRef names the JobRun itself.
func (r *JobRun) RefersToItself() bool {
	return r.Status.RunRef != nil && r.Status.RunRef.UID == r.UID
}

// LeadsBatch reports whether the JobRun is the leader of a batch.
func (r *JobRun) LeadsBatch() bool { return r.Spec.Batch != nil && r.Spec.Batch.Leader == r.Name }

// AwaitsBatch reports whether the JobRun is a member of a batch, has not ended,
// and its status does not say what became of the batch.
func (r *JobRun) AwaitsBatch() bool {
	return r.Spec.Batch != nil && r.Status.Batch == nil && !r.HasEnded()
}

// CallersLabels are the labels that the webhook did not stamp.
func (r *JobRun) CallersLabels() map[string]string {
	labels := maps.Clone(r.Labels)
	for _, stamped := range StampedLabels {
		delete(labels, stamped)
	}
	return labels
}

// InputText is spec.input as JSON text; empty without an input.
func (r *JobRun) InputText() string {
	if r.Spec.Input == nil {
		return ""
	}
	return string(r.Spec.Input.Raw)
}

// CompareAge orders JobRuns by creationTimestamp, the older one first, and by
// name where that ties: it has whole seconds.
func CompareAge(a, b *JobRun) int {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	}
	return strings.Compare(a.Name, b.Name)
}
