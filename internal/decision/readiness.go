// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file writes the conditions that kstatus reads (sigs.k8s.io/cli-utils/pkg/kstatus). Flux, Helm and others wait for
// objects by it. kstatus takes an object for InProgress while its Ready is False or its observedGeneration is behind, for
// Failed if its Stalled is True, and for Current if its Ready is True, but also if it has none of these conditions.

// ReasonNoOutcome is the reason of Ready on a JobRun without an outcome. It is the same while the run waits and while it
// executes, because a worker's claim does not change the conditions.
const ReasonNoOutcome = "NoOutcome"

// setReadiness makes Ready and Stalled say how a JobRun ended, or that it has no outcome.
func setReadiness(status *v1alpha1.JobRunStatus, run *v1alpha1.JobRun) {
	outcome := outcomeCondition(status)
	if outcome == nil {
		setCondition(status, metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: run.Generation,
			Reason: ReasonNoOutcome, Message: "it has not ended: see status.phase, and status.error if it does not get on",
			LastTransitionTime: run.CreationTimestamp, // It never was ready.
		})
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
		return
	}
	ready := *outcome
	ready.Type, ready.Message, ready.ObservedGeneration = v1alpha1.ConditionReady, oneLine(outcome.Message), run.Generation
	if outcome.Type == v1alpha1.ConditionComplete {
		setCondition(status, ready)
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
		return
	}
	stalled := ready
	ready.Status, stalled.Type = metav1.ConditionFalse, v1alpha1.ConditionStalled
	setCondition(status, ready)
	setCondition(status, stalled)
}

// outcomeCondition returns the condition that says how a JobRun ended; nil if it has no outcome.
func outcomeCondition(status *v1alpha1.JobRunStatus) *metav1.Condition {
	run := v1alpha1.JobRun{Status: *status}
	if !run.HasOutcome() {
		return nil
	}
	return meta.FindStatusCondition(status.Conditions, v1alpha1.OutcomeCondition(run.Outcome()))
}
