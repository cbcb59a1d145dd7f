// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Each transition returns the key to store. If it returns nil, the caller deletes the key. ok is false if the
// transition does not apply.

// Claim leases the waiting run. version is the resourceVersion of key. last is the last generation in the
// run's own status; the key may remember a lower one.
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
	return nilIfFree(next), true
}

// Requeue moves the leased run back to the waiting place. generation is the one that fenced its holder. Requeue
// does not apply while another run waits.
func Requeue(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, generation int64, now metav1.Time) (next *v1alpha1.RunKeySpec, ok bool) {
	if Pending(key) != (Identity{}) {
		return nil, false
	}
	return Displace(key, run, generation, now)
}

// Displace moves the leased run back to the waiting place, like Requeue, and takes the place from the run
// that has it.
func Displace(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, generation int64, now metav1.Time) (next *v1alpha1.RunKeySpec, ok bool) {
	if key == nil || Leased(key) != IdentityOf(run) {
		return nil, false
	}
	next = key.DeepCopy()
	next.Leased = nil
	next.Pending = waiting(run, generation, now)
	return next, true
}

// Withdraw takes the waiting place from run.
func Withdraw(key *v1alpha1.RunKeySpec, run Identity) (next *v1alpha1.RunKeySpec, ok bool) {
	if Pending(key) != run || (run == Identity{}) {
		return nil, false
	}
	next = key.DeepCopy()
	next.Pending = nil
	return nilIfFree(next), true
}

// Seat gives the waiting place to run, even if another run has it. A nil key is created.
func Seat(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun, now metav1.Time) *v1alpha1.RunKeySpec {
	next := concurrencyKey(key, run.Spec.JobName, run.Spec.ConcurrencyKey)
	next.Pending = waiting(run, run.LeaseGeneration(), now)
	return next
}

// LineUp notes first as the first run in line. If first is nil, no run waits in line, and LineUp returns nil if that frees
// the key. A nil key is free.
func LineUp(key *v1alpha1.RunKeySpec, first *v1alpha1.JobRun, now metav1.Time) *v1alpha1.RunKeySpec {
	if key == nil {
		return nil
	}
	next := key.DeepCopy()
	next.Line = nil
	if first != nil {
		next.Line = waiting(first, first.LeaseGeneration(), now)
	}
	return nilIfFree(next)
}

// Restore leases the key to a run that reads Leased. It does not apply while the key leases any run.
func Restore(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) (next *v1alpha1.RunKeySpec, ok bool) {
	if key != nil && key.Leased != nil {
		return nil, false
	}
	next = concurrencyKey(key, run.Spec.JobName, run.Spec.ConcurrencyKey)
	leased := run.LeaseGeneration()
	if !run.IsHeld() && leased > 1 {
		leased-- // The status has the fence's generation. With the one before it, the expiry goes on.
	}
	next.Leased = &v1alpha1.LeasedRun{
		RunIdentity: IdentityOf(run), Generation: leased, FromVersion: run.Status.Lease.KeyVersion,
	}
	if Pending(next) == IdentityOf(run) {
		next.Pending = nil
	}
	return next, true
}

// waiting returns the entry of run for the waiting place.
func waiting(run *v1alpha1.JobRun, generation int64, now metav1.Time) *v1alpha1.PendingRun {
	return &v1alpha1.PendingRun{
		RunIdentity: IdentityOf(run), Generation: generation, IdempotencyKey: run.Spec.IdempotencyKey, Time: &now,
	}
}

// nilIfFree returns key, or nil if the key names no run and no Job.
func nilIfFree(key *v1alpha1.RunKeySpec) *v1alpha1.RunKeySpec {
	if IsFree(key) && len(key.Unconfirmed) == 0 {
		return nil
	}
	return key
}

// IsFree reports whether a concurrency key names no run. A nil key is free.
func IsFree(key *v1alpha1.RunKeySpec) bool {
	return key == nil || key.Pending == nil && key.Leased == nil && key.Line == nil
}

// Grant leases the waiting run to an external worker if no run executes. version is key's resourceVersion.
//
// The key may have granted an earlier claim of the run that is not stored on the JobRun. Grant then grants
// the lease again, under the same generation. The API server stores only one of the two claims, because both
// name the version of the JobRun that they are based on. If the run was fenced since, because the controller began to
// take the grant back, the generation is the one after the fence.
func Grant(key *v1alpha1.RunKeySpec, version string, run *v1alpha1.JobRun) (next *v1alpha1.RunKeySpec, ok bool) {
	switch {
	case Leased(key) == IdentityOf(run) && run.LeaseGeneration() <= key.Leased.Generation:
		next = key.DeepCopy()
		next.Leased.FromVersion = version
		next.Leased.Generation = max(key.Leased.Generation, run.LeaseGeneration()+1)
		return next, true
	case Pending(key) == IdentityOf(run):
		return Claim(key, version, run.LeaseGeneration())
	default:
		return nil, false
	}
}
