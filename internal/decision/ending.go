// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// ending is how a run ends.
type ending struct {
	phase      v1alpha1.Phase
	generation int64
	reason     string
	message    string
	output     *apiextensionsv1.JSON
	// warning is what is missing on a run that completed; empty if nothing is.
	warning    string
	failure    *v1alpha1.RunFailure
	attempts   int32
	keyVersion string
	// neverStarted is true if nothing of the lease has executed. Then its claim is no evidence (P2).
	neverStarted bool
	now          metav1.Time
}

func failure(reason, message string) ending {
	return ending{phase: v1alpha1.PhaseFailed, reason: reason, message: message}
}

// overdue returns how a run ends whose lease has lasted for activeDeadlineSeconds.
func overdue(run *v1alpha1.JobRun) ending {
	message := fmt.Sprintf("the lease lasted longer than activeDeadlineSeconds, %d seconds", run.Spec.ActiveDeadlineSeconds)
	if refusal := refusalOf(run); refusal != "" {
		message += "; the Job was refused: " + refusal
	}
	message += obstacleNote(run)
	return failure(ReasonDeadlineExceeded, message)
}

// refusalOf returns the refusal of the Job that the status of a leased run has; empty without one.
func refusalOf(run *v1alpha1.JobRun) string {
	if run.RunsAsJob() && run.Status.Phase == v1alpha1.PhaseLeased && run.Status.JobRef == nil {
		return run.Status.Error
	}
	return ""
}

// obstacleNote returns what to add to the message of a run that failed while it did not get on; empty if nothing is known.
func obstacleNote(run *v1alpha1.JobRun) string {
	if run.RunsAsJob() && run.Status.Phase == v1alpha1.PhaseLeased && run.Status.JobRef != nil && run.Status.Error != "" {
		return "; it did not get on: " + run.Status.Error
	}
	return ""
}

// conditionReason is the pattern that the API server requires of a condition's reason, but not of a Job's.
var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// resultOf returns how a finished Job ends its run.
func resultOf(run *v1alpha1.JobRun, e *Execution) ending {
	c := e.Result
	if c.Type == batchv1.JobComplete {
		end := ending{phase: v1alpha1.PhaseCompleted, reason: ReasonCompleted, message: "the Job completed", output: e.Output}
		if e.OutputLost {
			end.warning = "the output is unknown: Job " + e.Job.Name + " completed, but its Pods are gone"
		}
		return end
	}
	reason := c.Reason
	if len(reason) > 1024 || !conditionReason.MatchString(reason) {
		reason = "JobFailed"
	}
	message := failureMessage(c, e.Failure)
	if e.Failure == nil {
		message += obstacleNote(run)
	}
	end := failure(reason, message)
	end.failure = e.Failure
	return end
}

// failureMessage returns why a Job failed: the reason and the message of its condition, then what failed in its Pods.
// The message about backoffLimit is left out, because it only repeats the reason. Of a long message of the Pods, the
// end remains, because the end of a log tells most.
func failureMessage(c *batchv1.JobCondition, failed *v1alpha1.RunFailure) string {
	ofJob := strings.Trim(c.Reason+": "+c.Message, ": ")
	if failed == nil {
		return ofJob
	}
	separator := "; "
	if c.Reason == batchv1.JobReasonBackoffLimitExceeded {
		ofJob, separator = c.Reason, ": "
	}
	head := oneLine(text.OneLine(ofJob, v1alpha1.MaxErrorBytes/2) + separator + executor.FailureText(failed))
	tail := strings.Join(strings.Fields(failed.Message), " ")
	if left := v1alpha1.MaxErrorBytes - len(head) - len(": "); tail != "" && left > 0 {
		head += ": " + text.End(tail, left)
	}
	return head
}

// DecideReport completes the status of a JobRun that has an outcome. A worker need only write the phase, while clients
// wait for the condition. After the end, a client may still set spec.cancel, which raises the generation.
func DecideReport(run *v1alpha1.JobRun, now metav1.Time) Plan {
	switch {
	case run.HasEnded() && !isComplete(run):
		return completeReport(run, now)
	case run.MisstatesOutcome():
		return Plan{Step: "observe-generation", Ops: withOwnCount([]Op{WriteStatus{run, statusOf(run)}})}
	default:
		return Plan{}
	}
}

func completeReport(run *v1alpha1.JobRun, now metav1.Time) Plan {
	status := statusOf(run)
	status.RunRef = selfRef(run)
	status.StartTime = startOf(run)
	status.CompletionTime = &now                              // The worker's own clock may be wrong.
	if isUnclaimed(run) && run.Status.CompletionTime == nil { // Later, the API server lets nobody remove it.
		status.Error = "" // The worker did not write it.
	}
	message := status.Error
	if message == "" {
		message = "reported by its worker"
	}
	setOutcome(&status, run, v1alpha1.OutcomeCondition(status.Phase), ReasonReported, message, now)
	return Plan{Step: "report", Ops: withOwnCount([]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}})}
}

// isComplete reports whether the status of an ended run has its completionTime and its condition.
func isComplete(run *v1alpha1.JobRun) bool {
	return run.HasEnded() && run.Status.CompletionTime != nil &&
		meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.OutcomeCondition(run.Status.Phase))
}

// Ends reports whether a write gives a run its outcome. before and after are the JobRun before and after the write. If a worker
// reports the end, this is the write that completes the worker's report.
func Ends(before, after *v1alpha1.JobRun) bool { return !isComplete(before) && isComplete(after) }
