// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// Reasons of conditions.
const (
	// ReasonCompleted means that the run's Job completed.
	ReasonCompleted = "Completed"
	// ReasonLeaseExpired means that the lease expired, and that the run failed because it cannot wait again.
	ReasonLeaseExpired = "LeaseExpired"
	// ReasonJobLost means that the Job is gone, that it is not known how it ended, and that the run must not
	// execute again.
	ReasonJobLost = "JobLost"
	// ReasonDeadlineExceeded means that a lease of the run lasted longer than activeDeadlineSeconds. A Job that
	// misses a deadline of its own gives the same reason.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonReported means that a worker reported the end.
	ReasonReported = "Reported"
	// ReasonInvalidJob means that the API server refused the run's Job for good.
	ReasonInvalidJob = "InvalidJob"
	// ReasonCancelled means that the JobRun was cancelled or is being deleted.
	ReasonCancelled = "Cancelled"
	// ReasonBatchWithdrawn means that the batch of the trigger was withdrawn.
	ReasonBatchWithdrawn = "BatchWithdrawn"
	// ReasonRestored means that a restore created the JobRun from a backup, and that it does not execute again.
	ReasonRestored = "Restored"
	// ReasonRunDeleted means that the run of a receipt was deleted before it ended.
	ReasonRunDeleted = "RunDeleted"
	// ReasonConflict means that the trigger bypassed the webhook while another run was pending for its key.
	ReasonConflict = "Conflict"
	// ReasonCoalesced means that another run stands for the trigger.
	ReasonCoalesced = "Coalesced"
)

// maxMessageBytes is the API server's limit for the message of a condition.
const maxMessageBytes = 32 << 10

// pendingStatus returns the status of a run that waits.
func pendingStatus(run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := statusOf(run)
	status.Phase = v1alpha1.PhasePending
	status.RunRef = selfRef(run)
	status.Error = ""
	return status
}

// leasedStatus returns the status of a run that a Job executes. The controller adds the jobRef
// and the definition when it writes the status.
func leasedStatus(run *v1alpha1.JobRun, generation int64, keyVersion string, now metav1.Time) v1alpha1.JobRunStatus {
	status := statusOf(run)
	status.Phase = v1alpha1.PhaseLeased
	status.RunRef = selfRef(run)
	status.Error = ""
	if run.LeaseGeneration() != generation || status.Lease.HolderIdentity == "" {
		at := metav1.NewMicroTime(now.Time)
		status.Lease = &v1alpha1.RunLease{
			HolderIdentity:  "job/" + executor.JobName(run, generation),
			Generation:      generation,
			KeyVersion:      keyVersion,
			AcquireTime:     &at,
			RenewTime:       &at,
			DurationSeconds: run.Spec.LeaseDurationSeconds,
		}
		status.Progress = nil
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	return status
}

// expiredStatus returns the status that fences a holder. It names no holder, and has the next generation.
func expiredStatus(run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := statusOf(run)
	status.Attempts = attemptsAfter(run)
	status.StartTime = startOf(run)
	status.Lease = &v1alpha1.RunLease{Generation: run.LeaseGeneration() + 1, KeyVersion: status.Lease.KeyVersion}
	status.JobRef, status.Definition = nil, nil
	status.Progress = nil
	if run.RunsAsJob() {
		status.Error = "" // It is about the Job of this lease.
	}
	return status
}

// requeuedStatus returns the status of a run that waits again after its holder was fenced.
func requeuedStatus(fenced v1alpha1.JobRunStatus) v1alpha1.JobRunStatus {
	pending := *fenced.DeepCopy()
	pending.Phase = v1alpha1.PhasePending
	return pending
}

// attemptsAfter returns the number of attempts after one more expiry, at most MaxRecordedAttempts.
func attemptsAfter(run *v1alpha1.JobRun) int32 {
	return min(run.Status.Attempts+1, v1alpha1.MaxRecordedAttempts)
}

// startOf returns when a run was first leased. Workers do not write startTime, so for their runs it returns the
// acquireTime of the lease.
func startOf(run *v1alpha1.JobRun) *metav1.Time {
	if l := run.Status.Lease; run.Status.StartTime == nil && l != nil && l.AcquireTime != nil {
		return &metav1.Time{Time: l.AcquireTime.Time}
	}
	return run.Status.StartTime
}

// endedStatus returns the status of a run that has ended.
func endedStatus(run *v1alpha1.JobRun, end ending) v1alpha1.JobRunStatus {
	status := statusOf(run)
	status.Phase = end.phase
	status.RunRef = selfRef(run)
	status.StartTime = startOf(run)
	status.CompletionTime = &end.now
	status.Output = end.output
	status.Failure = end.failure.DeepCopy()
	status.Error = ""
	if end.phase != v1alpha1.PhaseCompleted {
		status.Error = oneLine(end.message)
	} else if end.warning != "" {
		status.Error = oneLine(end.warning)
	}
	if end.attempts > 0 {
		status.Attempts = end.attempts
	}
	if end.generation > 0 {
		if run.LeaseGeneration() != end.generation {
			status.Lease = &v1alpha1.RunLease{Generation: end.generation, KeyVersion: end.keyVersion}
		}
		status.FinishedGeneration = end.generation
	}
	setOutcome(&status, run, v1alpha1.OutcomeCondition(end.phase), end.reason, end.message, end.now)
	return status
}

// boundStatus returns the status of a receipt that is bound to a run.
func boundStatus(receipt, run *v1alpha1.JobRun, phase v1alpha1.Phase, now metav1.Time) v1alpha1.JobRunStatus {
	status := statusOf(receipt)
	status.Phase = phase
	status.RunRef = &v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
	status.Error = ""
	if phase == v1alpha1.PhaseCoalesced {
		setCondition(&status, metav1.Condition{
			Type: v1alpha1.ConditionCoalesced, Status: metav1.ConditionTrue, ObservedGeneration: receipt.Generation,
			Reason: ReasonCoalesced, Message: "run " + run.Name + " stands for this trigger", LastTransitionTime: now,
		})
	}
	return status
}

// outcomeStatus returns the status that gives a receipt the outcome of its run. It requires that isComplete is true for
// the run.
func outcomeStatus(receipt, run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := statusOf(receipt)
	status.CompletionTime = run.Status.CompletionTime
	status.StartTime = run.Status.StartTime
	status.Output = run.Status.Output
	status.Error = run.Status.Error
	status.Failure = run.Status.Failure
	c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.OutcomeCondition(run.Status.Phase))
	setOutcome(&status, receipt, c.Type, c.Reason, c.Message, *status.CompletionTime)
	return status
}

// cancelledReceiptStatus returns the status of a receipt that ends without the outcome of its run.
func cancelledReceiptStatus(receipt *v1alpha1.JobRun, reason, message string, now metav1.Time) v1alpha1.JobRunStatus {
	status := statusOf(receipt)
	status.CompletionTime = &now
	status.Error = oneLine(message)
	setOutcome(&status, receipt, v1alpha1.ConditionCancelled, reason, message, now)
	return status
}

// countedStatus returns the status of a run that counts these receipts. A receipt counts as many triggers as it represents. If
// recent has no room for them, countedStatus removes its oldest entries whose receipts are marked (P8).
func countedStatus(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun, marked map[types.UID]bool) v1alpha1.JobRunStatus {
	status := statusOf(run)
	counted := cmp.Or(status.Coalesced, ownCount(run), &v1alpha1.CoalescedTriggers{})
	counted.Count = min(counted.Count+represented(receipts), v1alpha1.MaxCount)
	excess := len(counted.Recent) + len(receipts) - v1alpha1.MaxRecent
	counted.Recent = slices.DeleteFunc(counted.Recent, func(entry v1alpha1.CoalescedTrigger) bool {
		if excess <= 0 || !marked[entry.UID] {
			return false
		}
		excess--
		return true
	})
	for _, receipt := range receipts {
		counted.Recent = append(counted.Recent, recentEntry(receipt))
	}
	status.Coalesced = counted
	return status
}

func recentEntry(receipt *v1alpha1.JobRun) v1alpha1.CoalescedTrigger {
	entry := v1alpha1.CoalescedTrigger{
		Name:       receipt.Name,
		UID:        receipt.UID,
		Time:       &receipt.CreationTimestamp,
		Input:      text.Cut(receipt.InputText(), v1alpha1.MaxRecentInputBytes),
		MoreInputs: moreInputs(receipt),
		Labels:     callersLabels(receipt),
	}
	if r := receipt.Spec.Represents; r != nil {
		entry.Represents = r.Count
	}
	return entry
}

// callersLabels returns the labels of the caller that recent keeps: the first MaxRecentLabels, sorted by name.
func callersLabels(receipt *v1alpha1.JobRun) map[string]string {
	labels := receipt.CallersLabels()
	if len(labels) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(labels))
	for _, name := range names[min(len(names), v1alpha1.MaxRecentLabels):] {
		delete(labels, name)
	}
	return labels
}

// statusOf returns the status of a JobRun as it is, with what the operator writes into each status.
func statusOf(run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := *run.Status.DeepCopy()
	status.ObservedGeneration = run.Generation
	status.Stored = cmp.Or(status.Stored, run.ResourceVersion)
	setReadiness(&status, run)
	return status
}

func selfRef(run *v1alpha1.JobRun) *v1alpha1.ObjectReference {
	return &v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
}

// setOutcome sets the condition that says how a JobRun ended, and Ready and Stalled by it. It removes the other two
// outcome conditions, because a worker may have written them. The phase and the completionTime must be set.
func setOutcome(status *v1alpha1.JobRunStatus, run *v1alpha1.JobRun, kind, reason, message string, at metav1.Time) {
	status.Conditions = slices.DeleteFunc(status.Conditions, func(c metav1.Condition) bool {
		return c.Type != kind && v1alpha1.IsOutcomeCondition(c.Type)
	})
	setCondition(status, metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, ObservedGeneration: run.Generation,
		Reason: reason, Message: message, LastTransitionTime: at,
	})
	setReadiness(status, run)
}

// setCondition adds or replaces a condition, with a message that is no longer than the API server allows.
func setCondition(status *v1alpha1.JobRunStatus, c metav1.Condition) {
	if meta.FindStatusCondition(status.Conditions, c.Type) == nil {
		makeRoom(status)
	}
	c.Message = text.Cut(c.Message, maxMessageBytes)
	meta.SetStatusCondition(&status.Conditions, c)
}

// makeRoom makes room for one condition. If the list is full, it drops the first condition that a worker has written.
func makeRoom(status *v1alpha1.JobRunStatus) {
	if len(status.Conditions) < v1alpha1.MaxConditions {
		return
	}
	foreign := slices.IndexFunc(status.Conditions, func(c metav1.Condition) bool { return !isOperators(c.Type) })
	status.Conditions = slices.Delete(status.Conditions, foreign, foreign+1)
}

// isOperators reports whether the operator writes conditions of a type.
func isOperators(condition string) bool {
	switch condition {
	case v1alpha1.ConditionCoalesced, v1alpha1.ConditionReady, v1alpha1.ConditionStalled:
		return true
	default:
		return v1alpha1.IsOutcomeCondition(condition)
	}
}

// oneLine shortens a message to fit status.error.
func oneLine(message string) string { return text.OneLine(message, v1alpha1.MaxErrorBytes) }
