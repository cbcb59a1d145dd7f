// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RunKeyKind is the kind of key that a RunKey stands for.
//
// +kubebuilder:validation:Enum=Concurrency;Idempotency
type RunKeyKind string

const (
	// RunKeyConcurrency is the row of a concurrencyKey. It names the run that waits and the run that
	// executes.
	RunKeyConcurrency RunKeyKind = "Concurrency"
	// RunKeyIdempotency is the row of an idempotencyKey. It names the run that owns the key.
	RunKeyIdempotency RunKeyKind = "Idempotency"
)

// RunKeySpec is one row of the unique index over keys.
type RunKeySpec struct {
	// kind is the kind of the key: Concurrency or Idempotency.
	//
	// +required
	Kind RunKeyKind `json:"kind,omitempty"`

	// jobName is spec.jobName of the runs of this key.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	JobName string `json:"jobName,omitempty"`

	// key is spec.concurrencyKey or spec.idempotencyKey of the runs of this key.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Key string `json:"key,omitempty"`

	// pending is the run that waits for the key. Not set if no run waits.
	//
	// +optional
	Pending *PendingRun `json:"pending,omitempty"`

	// line is the first of the runs that wait without the waiting place. Such a run was stored after another
	// run got the place, or another run took its place. Triggers treat this run as the waiting run while
	// pending is not set. Not set if no such run waits.
	//
	// +optional
	Line *PendingRun `json:"line,omitempty"`

	// leased is the run that executes. Not set if no run executes.
	//
	// +optional
	Leased *LeasedRun `json:"leased,omitempty"`

	// unconfirmed are Jobs that may still appear, because a create of them may be under way. Each one had the lease of an
	// earlier run or generation, and was not seen to finish. The next run of the key starts only once live reads show
	// that none of them executes. The operator removes an entry when it has seen nothing of the Job for 60 seconds.
	//
	// +optional
	// +listType=map
	// +listMapKey=job
	// +listMapKey=token
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Unconfirmed []UnconfirmedJob `json:"unconfirmed,omitempty"`

	// owner is the run that owns an idempotency key. It owns the key while it exists, or until the time of
	// outcome is over.
	//
	// +optional
	Owner *RunIdentity `json:"owner,omitempty"`

	// request is the admission request in which owner got an idempotency key with idempotencyTTLSeconds. If the
	// API server sends that request again, the trigger takes the key over.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Request string `json:"request,omitempty"`

	// idempotencyTTLSeconds is spec.idempotencyTTLSeconds of the delivery that brought an idempotency key.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	IdempotencyTTLSeconds int32 `json:"idempotencyTTLSeconds,omitempty"`

	// idempotencyRelease is spec.idempotencyRelease of the delivery that brought an idempotency key.
	//
	// +optional
	IdempotencyRelease IdempotencyReleasePolicy `json:"idempotencyRelease,omitempty"`

	// outcome is how owner ended. The operator stores it in an idempotency key with idempotencyTTLSeconds, for
	// deliveries that come after the run is deleted.
	//
	// +optional
	Outcome *RememberedOutcome `json:"outcome,omitempty"`
}

// RememberedOutcome is how the owner of an idempotency key ended.
type RememberedOutcome struct {
	// uid is the UID of the run.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`

	// phase is Completed, Failed or Cancelled.
	//
	// +required
	Phase Phase `json:"phase,omitempty"`

	// reason is the reason of the run's condition.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`

	// error is status.error of the run, or why output is not here.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`

	// output is status.output of the run as JSON text, if it has at most 1 KiB.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Output string `json:"output,omitempty"`

	// startTime is when the run was first leased.
	//
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the run ended.
	//
	// +required
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// forgetTime is when the operator forgets the key: idempotencyTTLSeconds after it stored this outcome.
	//
	// +required
	ForgetTime *metav1.Time `json:"forgetTime,omitempty"`
}

// RunIdentity names a run by its name and its token. A name can be used again, a token cannot: a JobRun of
// that name with another token is another run.
type RunIdentity struct {
	// runName is the name of the run.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RunName string `json:"runName,omitempty"`

	// token identifies the run. A JobRun of that name with another token is another run.
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

	// generation is the last generation that the run used. Not set if the run was never leased.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// idempotencyKey is the idempotencyKey of the run. The webhook recognises a second delivery by it, before
	// the run itself can be read.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	IdempotencyKey string `json:"idempotencyKey,omitempty"`

	// time is when the webhook or the controller reserved the key for the run.
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

	// fromVersion is the resourceVersion of this RunKey that the claim's compare-and-swap was based on.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	FromVersion string `json:"fromVersion,omitempty"`
}

// MaxUnconfirmed is the largest number of Jobs in spec.unconfirmed of a RunKey.
const MaxUnconfirmed = 64

// UnconfirmedJob is a Job that may still appear.
type UnconfirmedJob struct {
	// job is the name of the Job.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Job string `json:"job,omitempty"`

	// token is the token of the run that the Job executes. A Job of that name with another token is another Job.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Token string `json:"token,omitempty"`
}

// RunKey is a row of the unique index over keys. Only the operator writes RunKeys. The RunKey of a concurrencyKey exists
// while its key is busy, and while spec.unconfirmed names Jobs that may still appear. A key whose row has only these is
// free. The RunKey of an idempotencyKey exists while a second delivery starts nothing.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rk
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.jobName`
// +kubebuilder:printcolumn:name="Pending",type=string,JSONPath=`.spec.pending.runName`
// +kubebuilder:printcolumn:name="Leased",type=string,JSONPath=`.spec.leased.runName`
// +kubebuilder:printcolumn:name="Line",type=string,JSONPath=`.spec.line.runName`,priority=1
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner.runName`,priority=1
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.spec.outcome.phase`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Key",type=string,JSONPath=`.spec.key`
type RunKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is made of the kind and a hash of jobName and key.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the content of the row.
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
