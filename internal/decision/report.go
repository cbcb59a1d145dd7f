// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// DecideReport completes the status of a run that a worker ended. A worker need only write the phase, while
// clients wait for the condition.
func DecideReport(run *v1alpha1.JobRun, now metav1.Time) Plan {
	if !run.HasEnded() || isComplete(run) {
		return Plan{}
	}
	status := statusOf(run)
	status.RunRef = selfRef(run)
	status.StartTime = startOf(run)
	status.CompletionTime = &now // The worker's own clock may be wrong.
	message := status.Error
	if message == "" {
		message = "reported by its worker"
	}
	setOutcome(&status, run.Generation, v1alpha1.OutcomeCondition(status.Phase), ReasonReported, message, now)
	return Plan{Step: "report", Ops: []Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}}}
}

// isComplete reports whether the status of an ended run has its completionTime and its condition.
func isComplete(run *v1alpha1.JobRun) bool {
	return run.HasEnded() && run.Status.CompletionTime != nil &&
		meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.OutcomeCondition(run.Status.Phase))
}
