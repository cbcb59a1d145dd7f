// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	"k8s.io/apimachinery/pkg/util/resourceversion"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Identity is the name and the token of a run.
type Identity = v1alpha1.RunIdentity

// IdentityOf returns the identity of a JobRun. A JobRun that was stored without the webhook has no token. Its
// UID serves as one, because no other JobRun ever gets that UID.
func IdentityOf(run *v1alpha1.JobRun) Identity {
	if a := run.Spec.Admission; a != nil && a.Token != "" {
		return Identity{RunName: run.Name, Token: a.Token}
	}
	return Identity{RunName: run.Name, Token: string(run.UID)}
}

// AnsweredWith returns the run that the webhook named in its answer to the trigger of a JobRun. For the answer
// Created, that is the JobRun itself. The JobRun must have an admission.
func AnsweredWith(run *v1alpha1.JobRun) Identity {
	a := run.Spec.Admission
	return Identity{RunName: a.RunName, Token: a.RunToken}
}

// Pending returns the run that waits for the key; the zero Identity if none does.
func Pending(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Pending == nil {
		return Identity{}
	}
	return key.Pending.RunIdentity
}

// Leased returns the run that executes for the key; the zero Identity if none does.
func Leased(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Leased == nil {
		return Identity{}
	}
	return key.Leased.RunIdentity
}

// Leases reports whether the key leases a run under a generation.
func Leases(key *v1alpha1.RunKeySpec, run Identity, generation int64) bool {
	return Leased(key) == run && run != Identity{} && key.Leased.Generation == generation
}

// LeasesItself reports whether a run without a key may have a Job of a generation. The claim of the next generation
// creates its Job before it writes the status.
func LeasesItself(run *v1alpha1.JobRun, generation int64) bool {
	switch {
	case run.Status.Phase == v1alpha1.PhaseLeased:
		return generation == run.LeaseGeneration()
	case run.HasEnded() || run.IsReceipt():
		return false
	default:
		return generation == run.LeaseGeneration()+1
	}
}

// Line returns the first run in the key's line; the zero Identity if no run waits in line.
func Line(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Line == nil {
		return Identity{}
	}
	return key.Line.RunIdentity
}

// NextToStart returns the entry of the run that starts next: the one in the waiting place, or the first in line while the place
// is free. It returns nil if no run waits.
func NextToStart(key *v1alpha1.RunKeySpec) *v1alpha1.PendingRun {
	switch {
	case key == nil:
		return nil
	case key.Pending != nil:
		return key.Pending
	default:
		return key.Line
	}
}

// Owner returns the run that owns an idempotency key; the zero Identity if none does.
func Owner(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Owner == nil {
		return Identity{}
	}
	return *key.Owner
}

// StartedAfter reports whether a claim proves that its run started after a trigger (P2). The claim was based on
// fromVersion of the key. The webhook saw the run waiting in keyVersion of the key. Versions that cannot be
// compared prove nothing.
func StartedAfter(fromVersion, keyVersion string) bool {
	if fromVersion == "" || keyVersion == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(fromVersion, keyVersion)
	return err == nil && order >= 0
}

// Home returns the name of the home of a JobRun: its concurrency RunKey, or the JobRun itself if it has no
// concurrencyKey.
func Home(run *v1alpha1.JobRun) string {
	if run.Spec.ConcurrencyKey == "" {
		return RunHome(run.Name)
	}
	return v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
}

// RunHome returns the home of a run without a concurrencyKey.
func RunHome(name string) string { return "run/" + name }
