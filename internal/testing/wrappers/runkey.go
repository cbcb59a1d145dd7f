// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package wrappers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// RunKeyWrapper builds a RunKey.
type RunKeyWrapper struct{ v1alpha1.RunKey }

// MakeRunKey starts the row of a concurrencyKey.
func MakeRunKey(key string) *RunKeyWrapper {
	return makeRunKey(v1alpha1.ConcurrencyKeyName(JobName, key), v1alpha1.RunKeyConcurrency, key)
}

// MakeIdempotencyKey starts the row of an idempotencyKey.
func MakeIdempotencyKey(key string) *RunKeyWrapper {
	return makeRunKey(v1alpha1.IdempotencyKeyName(JobName, key), v1alpha1.RunKeyIdempotency, key)
}

func makeRunKey(name string, kind v1alpha1.RunKeyKind, key string) *RunKeyWrapper {
	return &RunKeyWrapper{v1alpha1.RunKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, UID: "uid-key", ResourceVersion: "10"},
		Spec:       v1alpha1.RunKeySpec{Kind: kind, JobName: JobName, Key: key},
	}}
}

// Obj returns the RunKey.
func (w *RunKeyWrapper) Obj() *v1alpha1.RunKey { return &w.RunKey }

// Row returns the spec.
func (w *RunKeyWrapper) Row() *v1alpha1.RunKeySpec { return &w.RunKey.Spec }

// ResourceVersion sets the version.
func (w *RunKeyWrapper) ResourceVersion(version string) *RunKeyWrapper {
	w.ObjectMeta.ResourceVersion = version
	return w
}

// Pending gives the waiting place to a run.
func (w *RunKeyWrapper) Pending(run string) *RunKeyWrapper {
	return w.PendingAs(run, TokenOf(run))
}

// PendingAs gives the waiting place to the run with that name and token.
func (w *RunKeyWrapper) PendingAs(run, token string) *RunKeyWrapper {
	w.RunKey.Spec.Pending = &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: run, Token: token}, Time: Epoch.DeepCopy()}
	return w
}

// LastGeneration sets the last generation that the waiting run used.
func (w *RunKeyWrapper) LastGeneration(generation int64) *RunKeyWrapper {
	w.RunKey.Spec.Pending.Generation = generation
	return w
}

// IdempotencyKey sets the idempotencyKey of the waiting run.
func (w *RunKeyWrapper) IdempotencyKey(key string) *RunKeyWrapper {
	w.RunKey.Spec.Pending.IdempotencyKey = key
	return w
}

// Line makes a run the first in line.
func (w *RunKeyWrapper) Line(run string) *RunKeyWrapper {
	return w.LineAs(run, TokenOf(run))
}

// LineAs makes the run with that name and token the first in line.
func (w *RunKeyWrapper) LineAs(run, token string) *RunKeyWrapper {
	w.RunKey.Spec.Line = &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: run, Token: token}, Time: Epoch.DeepCopy()}
	return w
}

// Leased gives the lease to a run. Its claim was based on that version of the RunKey.
func (w *RunKeyWrapper) Leased(run string, generation int64, fromVersion string) *RunKeyWrapper {
	w.RunKey.Spec.Leased = &v1alpha1.LeasedRun{
		RunIdentity: v1alpha1.RunIdentity{RunName: run, Token: TokenOf(run)}, Generation: generation, FromVersion: fromVersion,
	}
	return w
}

// Unconfirmed notes that a Job may still appear.
func (w *RunKeyWrapper) Unconfirmed(job, token string) *RunKeyWrapper {
	w.RunKey.Spec.Unconfirmed = append(w.RunKey.Spec.Unconfirmed, v1alpha1.UnconfirmedJob{Job: job, Token: token})
	return w
}

// Owner gives the idempotency key to a run.
func (w *RunKeyWrapper) Owner(run string) *RunKeyWrapper {
	return w.OwnerAs(run, TokenOf(run))
}

// OwnerAs gives the idempotency key to the run with that name and token.
func (w *RunKeyWrapper) OwnerAs(run, token string) *RunKeyWrapper {
	w.RunKey.Spec.Owner = &v1alpha1.RunIdentity{RunName: run, Token: token}
	return w
}

// Remembered sets the TTL of the delivery that brought the idempotency key.
func (w *RunKeyWrapper) Remembered(seconds int32) *RunKeyWrapper {
	w.RunKey.Spec.IdempotencyTTLSeconds = seconds
	return w
}

// ReleasedOnFailure sets the release of the delivery that brought the idempotency key.
func (w *RunKeyWrapper) ReleasedOnFailure() *RunKeyWrapper {
	w.RunKey.Spec.IdempotencyRelease = v1alpha1.IdempotencyReleaseOnFailure
	return w
}

// Request sets the admission request of the delivery that brought the idempotency key.
func (w *RunKeyWrapper) Request(uid string) *RunKeyWrapper {
	w.RunKey.Spec.Request = uid
	return w
}

// Outcome makes the key remember that its owner ended in a phase, until a time.
func (w *RunKeyWrapper) Outcome(phase v1alpha1.Phase, forget metav1.Time) *RunKeyWrapper {
	w.RunKey.Spec.Outcome = &v1alpha1.RememberedOutcome{
		UID: UIDOf(w.RunKey.Spec.Owner.RunName), Phase: phase, Reason: string(phase), CompletionTime: Epoch.DeepCopy(), ForgetTime: &forget,
	}
	return w
}
