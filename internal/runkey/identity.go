// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import (
	"k8s.io/apimachinery/pkg/util/resourceversion"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Identity names a run, by its name and its token.
type Identity = v1alpha1.RunIdentity

// IdentityOf is the identity of a JobRun. A JobRun that was stored without the webhook
// has no token of its own; its UID, which is never used again either, serves.
func IdentityOf(run *v1alpha1.JobRun) Identity {
	if a := run.Spec.Admission; a != nil && a.Token != "" {
		return Identity{RunName: run.Name, Token: a.Token}
	}
	return Identity{RunName: run.Name, Token: string(run.UID)}
}

// AnsweredWith is the run that the trigger of a JobRun was answered with: itself if
// Created. The JobRun must have an admission.
func AnsweredWith(run *v1alpha1.JobRun) Identity {
	a := run.Spec.Admission
	return Identity{RunName: a.RunName, Token: a.RunToken}
}

// Pending is the run that waits for the key; the zero Identity if none does.
func Pending(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Pending == nil {
		return Identity{}
	}
	return key.Pending.RunIdentity
}

// Leased is the run that executes for the key; the zero Identity if none does.
func Leased(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Leased == nil {
		return Identity{}
	}
	return key.Leased.RunIdentity
}

// Owner is the run that owns an idempotency key; the zero Identity if none does.
func Owner(key *v1alpha1.RunKeySpec) Identity {
	if key == nil || key.Owner == nil {
		return Identity{}
	}
	return *key.Owner
}

// StartedAfter reports whether a claim based on fromVersion proves that its run
// started after a trigger that saw the run waiting at keyVersion. Anything that
// cannot be compared proves nothing.
func StartedAfter(fromVersion, keyVersion string) bool {
	if fromVersion == "" || keyVersion == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(fromVersion, keyVersion)
	return err == nil && order >= 0
}
