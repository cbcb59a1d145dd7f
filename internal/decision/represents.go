// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file is about JobRuns that stand for several triggers: spec.represents (P8, P9).

// spared is how long after its creation a JobRun is kept that stands for several triggers: see v1alpha1.RepresentativeSeconds. The
// creationTimestamp has whole seconds, so the JobRun may be almost a second younger than it says.
const spared = (v1alpha1.RepresentativeSeconds + 1) * time.Second

// sparedFor returns how much longer a JobRun is kept because it stands for several triggers; 0 or less if it need not be kept.
func sparedFor(run *v1alpha1.JobRun, now metav1.Time) time.Duration {
	if run.Spec.Represents == nil {
		return 0
	}
	return spared - now.Sub(run.CreationTimestamp.Time)
}

// BeyondReceiptHistory returns the oldest receipts of a run beyond its history that need not be spared. bound are its receipts, oldest
// first. left is the time until another one need not be spared; 0 if there is none.
func BeyondReceiptHistory(bound []*v1alpha1.JobRun, history int, now metav1.Time) (excess []*v1alpha1.JobRun, left time.Duration) {
	for _, receipt := range bound[:max(len(bound)-history, 0)] {
		if after := sparedFor(receipt, now); after > 0 {
			left = Sooner(left, after)
			continue
		}
		excess = append(excess, receipt)
	}
	return excess, left
}

// ownCount returns the record of a run that has absorbed no receipt: it stands for all triggers that it represents, and absorbed all
// but one of them. It is nil if it represents one.
func ownCount(run *v1alpha1.JobRun) *v1alpha1.CoalescedTriggers {
	if run.Represented() <= 1 {
		return nil
	}
	return &v1alpha1.CoalescedTriggers{Count: run.Represented() - 1}
}

// withOwnCount adds what a run represents itself to the first status that a plan writes with a phase of a run. A run without
// status.coalesced has not counted it yet: countedStatus counts it, too, if it comes first.
func withOwnCount(ops []Op) []Op {
	for i, op := range ops {
		write, ok := op.(WriteStatus)
		if !ok || write.Status.Coalesced != nil || !isPhaseOfRun(write.Status.Phase) {
			continue
		}
		write.Status.Coalesced = ownCount(write.Run)
		ops[i] = write
	}
	return ops
}

func isPhaseOfRun(phase v1alpha1.Phase) bool {
	return phase != "" && phase != v1alpha1.PhaseCoalesced && phase != v1alpha1.PhaseIdempotent
}

// represented returns the number of triggers that receipts stand for.
func represented(receipts []*v1alpha1.JobRun) int64 {
	n := int64(0)
	for _, receipt := range receipts {
		n += receipt.Represented()
	}
	return n
}

// moreInputs returns the inputs of the latest triggers that a receipt represents, as far as an entry of recent has room for them.
// The oldest is first.
func moreInputs(receipt *v1alpha1.JobRun) []string {
	if receipt.Spec.Represents == nil {
		return nil
	}
	var inputs []string
	room := v1alpha1.MaxMoreInputsBytes
	for _, trigger := range slices.Backward(receipt.Spec.Represents.Recent) {
		if trigger.Input == nil || len(trigger.Input.Raw) == 0 || len(trigger.Input.Raw) > room || len(inputs) == v1alpha1.MaxMoreInputs {
			continue
		}
		inputs = append(inputs, string(trigger.Input.Raw))
		room -= len(trigger.Input.Raw)
	}
	slices.Reverse(inputs)
	return inputs
}
