// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"cmp"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file gives receipts the outcome that an idempotency key remembers (P10). The run that stood for them is gone.

// remembered returns what the idempotency key of a receipt remembers of its owner; nil if it remembers nothing.
func (s *Snapshot) remembered(receipt *v1alpha1.JobRun) *v1alpha1.RememberedOutcome {
	return runkey.Remembered(s.IdempotencyKeys[receipt.UID])
}

// isRecalled reports whether an unbound receipt gets the outcome that its idempotency key remembers: neither the run that it
// was answered with nor the owner of the key exists.
func (s *Snapshot) isRecalled(receipt *v1alpha1.JobRun) bool {
	return s.remembered(receipt) != nil && s.Run(s.Owners[receipt.UID]) == nil &&
		(receipt.BypassedWebhook() || s.Gone[runkey.AnsweredWith(receipt)])
}

// recalledOutcome returns the outcome that an idempotency key remembers of the gone run that a bound receipt names. If the key
// is still to remember how its owner ended, wait is true.
func (s *Snapshot) recalledOutcome(receipt *v1alpha1.JobRun, run *v1alpha1.ObjectReference) (end *v1alpha1.RememberedOutcome, wait bool) {
	key, owner := s.IdempotencyKeys[receipt.UID], s.Owners[receipt.UID]
	if end := runkey.Remembered(key); end != nil && end.UID == run.UID {
		return end, false
	}
	return nil, runkey.AwaitsOutcome(key) && owner.RunName == run.Name && s.Run(owner) == nil
}

// recall returns the operation that binds a receipt to a run that is gone, and gives it the remembered outcome.
func (s *Snapshot) recall(receipt *v1alpha1.JobRun) Op {
	end, owner := s.remembered(receipt), s.Owners[receipt.UID]
	status := recalledStatus(receipt, v1alpha1.PhaseIdempotent, end, owner.RunName)
	status.RunRef = &v1alpha1.ObjectReference{Name: owner.RunName, UID: end.UID}
	return WriteStatus{receipt, status}
}

// recalledStatus returns the status with which a receipt, in its phase of a receipt, gets a remembered outcome.
func recalledStatus(receipt *v1alpha1.JobRun, phase v1alpha1.Phase, end *v1alpha1.RememberedOutcome, run string) v1alpha1.JobRunStatus {
	status := statusOf(receipt)
	status.Phase = phase
	status.CompletionTime = end.CompletionTime
	status.StartTime = end.StartTime
	status.Error = end.Error
	if end.Output != "" {
		status.Output = &apiextensionsv1.JSON{Raw: []byte(end.Output)}
	}
	message := cmp.Or(end.Error, "run "+run+" is gone; the idempotency key remembers how it ended")
	setOutcome(&status, receipt, v1alpha1.OutcomeCondition(end.Phase), end.Reason, message, *end.CompletionTime)
	return status
}
