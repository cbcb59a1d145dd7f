// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Terms say how long an idempotency key lasts after its owner has ended. The delivery that brought the key sets them, and
// the row keeps them, because that delivery may be gone when the owner ends (P10).
type Terms struct {
	// TTLSeconds is spec.idempotencyTTLSeconds; 0 if the key lasts as long as the owner exists.
	TTLSeconds int32
	// Release is spec.idempotencyRelease.
	Release v1alpha1.IdempotencyReleasePolicy
}

// TermsOf returns the terms of a delivery.
func TermsOf(delivery *v1alpha1.JobRun) Terms {
	return Terms{TTLSeconds: delivery.Spec.IdempotencyTTLSeconds, Release: delivery.Spec.IdempotencyRelease}
}

// TermsIn returns the terms of an idempotency key.
func TermsIn(key *v1alpha1.RunKeySpec) Terms {
	if key == nil {
		return Terms{}
	}
	return Terms{TTLSeconds: key.IdempotencyTTLSeconds, Release: key.IdempotencyRelease}
}

// ReleasesAfter reports whether a run that ended in this phase releases its key at once.
func (t Terms) ReleasesAfter(end v1alpha1.Phase) bool {
	return t.Release == v1alpha1.IdempotencyReleaseOnFailure && (end == v1alpha1.PhaseFailed || end == v1alpha1.PhaseCancelled)
}

// TTL returns how long the key is remembered after the end; 0 without a TTL.
func (t Terms) TTL() time.Duration { return time.Duration(t.TTLSeconds) * time.Second }

// OutcomeOf returns what an idempotency key remembers of a run that has ended and has its completionTime.
func OutcomeOf(run *v1alpha1.JobRun) *v1alpha1.RememberedOutcome {
	outcome := &v1alpha1.RememberedOutcome{
		UID:            run.UID,
		Phase:          run.Status.Phase,
		Reason:         string(run.Status.Phase),
		Error:          run.Status.Error,
		StartTime:      run.Status.StartTime,
		CompletionTime: run.Status.CompletionTime,
	}
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.OutcomeCondition(run.Status.Phase)); c != nil {
		outcome.Reason = cmp.Or(c.Reason, outcome.Reason)
	}
	if output := run.Status.Output; output != nil {
		outcome.Output = string(output.Raw)
	}
	if size := len(outcome.Output); size > v1alpha1.MaxRememberedOutputBytes {
		outcome.Output = ""
		outcome.Error = cmp.Or(outcome.Error, fmt.Sprintf("the output of run %s is gone: it had %d bytes, and a key remembers at most %d",
			run.Name, size, v1alpha1.MaxRememberedOutputBytes))
	}
	return outcome
}

// Remember returns an idempotency key with the outcome of its owner. The key is forgotten when its TTL is over. The TTL
// counts from now, because the time in the outcome may come from another clock.
func Remember(key *v1alpha1.RunKeySpec, outcome *v1alpha1.RememberedOutcome, now metav1.Time) *v1alpha1.RunKeySpec {
	next := key.DeepCopy()
	next.Outcome = outcome.DeepCopy()
	end := now.Add(TermsIn(key).TTL() + time.Second - 1) // The API server stores whole seconds.
	next.Outcome.ForgetTime = &metav1.Time{Time: end.Truncate(time.Second)}
	return next
}

// Remembered returns how the owner of an idempotency key ended; nil unless the key remembers that.
func Remembered(key *v1alpha1.RunKeySpec) *v1alpha1.RememberedOutcome {
	if key == nil {
		return nil
	}
	return key.Outcome
}

// AwaitsOutcome reports whether an idempotency key is to remember how its owner ends, and does not yet.
func AwaitsOutcome(key *v1alpha1.RunKeySpec) bool {
	return TermsIn(key).TTLSeconds > 0 && key.Outcome == nil
}
