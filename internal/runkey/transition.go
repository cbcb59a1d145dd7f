// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Every transition returns the key to store; nil means that nothing is left and
// the key is to be deleted. A transition that does not apply returns ok false.

// Claim moves the waiting run to leased. version is the resourceVersion of the
// key that the claim is decided on; last is the last generation the run is
// known to have used, should the key remember less.
func Claim(key *v1alpha1.RunKeySpec, version string, last int64) (next *v1alpha1.RunKeySpec, ok bool) {
	if key == nil || key.Pending == nil || key.Leased != nil {
		return nil, false
	}
	next = key.DeepCopy()
	next.Leased = &v1alpha1.LeasedRun{
		RunIdentity: key.Pending.RunIdentity,
		Generation:  max(key.Pending.Generation, last) + 1,
		FromVersion: version,
	}
	next.Pending = nil
	return next, true
}

// Release ends the lease of run.
func Release(key *v1alpha1.RunKeySpec, run Identity) (next *v1alpha1.RunKeySpec, ok bool) {
	if Leased(key) != run || (run == Identity{}) {
		return nil, false
	}
	next = key.DeepCopy()
	next.Leased = nil
	return orNothing(next), true
}

// Requeue puts the leased run back to waiting with the generation that fenced
// its holder. It does not apply while another run waits.
func Requeue(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, generation int64, now metav1.Time) (next *v1alpha1.RunKeySpec, ok bool) {
	if Pending(key) != (Identity{}) {
		return nil, false
	}
	return Displace(key, run, generation, now)
}

// Displace is Requeue in the place of whoever waits.
func Displace(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, generation int64, now metav1.Time) (next *v1alpha1.RunKeySpec, ok bool) {
	if key == nil || Leased(key) != IdentityOf(run) {
		return nil, false
	}
	next = key.DeepCopy()
	next.Leased = nil
	next.Pending = waiting(run, generation, now)
	return next, true
}

// Withdraw takes run out of the waiting place.
func Withdraw(key *v1alpha1.RunKeySpec, run Identity) (next *v1alpha1.RunKeySpec, ok bool) {
	if Pending(key) != run || (run == Identity{}) {
		return nil, false
	}
	next = key.DeepCopy()
	next.Pending = nil
	return orNothing(next), true
}

// Seat gives the waiting place to run, whoever had it. key may be nil: then the
// key is created.
func Seat(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, now metav1.Time) *v1alpha1.RunKeySpec {
	next := concurrencyKey(key, run.Spec.JobName, run.Spec.ConcurrencyKey)
	next.Pending = waiting(run, run.LeaseGeneration(), now)
	return next
}

// Restore gives a run that reads Leased its place in the key back. It does not
// apply while another run is leased.
func Restore(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) (next *v1alpha1.RunKeySpec, ok bool) {
	if key != nil && key.Leased != nil {
		return nil, false
	}
	next = concurrencyKey(key, run.Spec.JobName, run.Spec.ConcurrencyKey)
	leased := run.LeaseGeneration()
	if !run.IsHeld() && leased > 1 {
		leased-- // The lease expired: its generation is spent, and the expiry goes on.
	}
	next.Leased = &v1alpha1.LeasedRun{
		RunIdentity: IdentityOf(run),
		Generation:  leased,
		FromVersion: run.Status.Lease.KeyVersion,
	}
	if Pending(next) == IdentityOf(run) {
		next.Pending = nil
	}
	return next, true
}

// waiting is run in the waiting place.
func waiting(run *v1alpha1.JobRun, generation int64, now metav1.Time) *v1alpha1.PendingRun {
	return &v1alpha1.PendingRun{
		RunIdentity:    IdentityOf(run),
		Generation:     generation,
		IdempotencyKey: run.Spec.IdempotencyKey,
		Time:           &now,
	}
}

func orNothing(key *v1alpha1.RunKeySpec) *v1alpha1.RunKeySpec {
	if key.Pending == nil && key.Leased == nil {
		return nil
	}
	return key
}
