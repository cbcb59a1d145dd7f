// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunKeyKind says which key a RunKey is the row of.
//
// +kubebuilder:validation:Enum=Concurrency;Idempotency
type RunKeyKind string

const (
	// RunKeyConcurrency is the row of a concurrencyKey: who waits and who executes.
	RunKeyConcurrency RunKeyKind = "Concurrency"
	// RunKeyIdempotency is the row of an idempotencyKey: the run that owns it.
	RunKeyIdempotency RunKeyKind = "Idempotency"
)

// RunKeySpec is one row of the unique index over keys.
type RunKeySpec struct {
	// kind says which key this is: Concurrency or Idempotency.
	//
	// +required
	Kind RunKeyKind `json:"kind,omitempty"`

	// jobName is spec.jobName of the runs.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	JobName string `json:"jobName,omitempty"`

	// key is spec.concurrencyKey or spec.idempotencyKey of the runs.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Key string `json:"key,omitempty"`

	// pending is the run that waits for the key, if one does.
	//
	// +optional
	Pending *PendingRun `json:"pending,omitempty"`

	// leased is the run that executes, if one does.
	//
	// +optional
	Leased *LeasedRun `json:"leased,omitempty"`

	// owner is the run that owns an idempotency key, for as long as that run exists.
	//
	// +optional
	Owner *RunIdentity `json:"owner,omitempty"`
}

// RunIdentity names a run. The token decides: a name can be used again, a token
// cannot, so a JobRun of that name with another token is another run.
type RunIdentity struct {
	// runName names the run.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RunName string `json:"runName,omitempty"`

	// token identifies the run; a JobRun of that name with another token is another run.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Token string `json:"token,omitempty"`
}

// PendingRun is the run that waits for a key.
//
// +kubebuilder:validation:MinProperties=2
type PendingRun struct {
	RunIdentity `json:",inline"`

	// generation is the last one the run used. Not set when it was never leased.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// idempotencyKey of the run, so that a second delivery of its trigger is
	// recognised before anything else of it can be seen.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	IdempotencyKey string `json:"idempotencyKey,omitempty"`

	// time the key was reserved for the run.
	//
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// LeasedRun is the run that executes for a key.
type LeasedRun struct {
	RunIdentity `json:",inline"`

	// generation is the fencing token of the lease.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// fromVersion is the resourceVersion of this RunKey that the claim's
	// compare-and-swap was based on.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	FromVersion string `json:"fromVersion,omitempty"`
}

// RunKey is a row of the unique index over keys: one object per busy key,
// written by the operator alone. It exists exactly while its key is busy.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rk
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.jobName`
// +kubebuilder:printcolumn:name="Key",type=string,JSONPath=`.spec.key`
// +kubebuilder:printcolumn:name="Pending",type=string,JSONPath=`.spec.pending.runName`
// +kubebuilder:printcolumn:name="Leased",type=string,JSONPath=`.spec.leased.runName`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner.runName`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RunKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is a hash of kind, jobName and key.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the row itself.
	//
	// +required
	Spec RunKeySpec `json:"spec,omitzero"`
}

// RunKeyList is a list of RunKeys.
//
// +kubebuilder:object:root=true
type RunKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RunKey `json:"items"`
}
