// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// CoalescePolicy says what becomes of a trigger when a run already waits for
// its key.
//
// +kubebuilder:validation:Enum=Skip
type CoalescePolicy string

const (
	// CoalesceSkip keeps the waiting run as it is and absorbs the trigger.
	CoalesceSkip CoalescePolicy = "Skip"
)

// CoalescePolicies are the values that spec.coalesce takes. Not set, a trigger
// that finds a waiting run is refused.
var CoalescePolicies = []CoalescePolicy{CoalesceSkip}

// Disposition says what became of a trigger.
//
// +kubebuilder:validation:Enum=Created;Coalesced;Idempotent
type Disposition string

const (
	// DispositionCreated means that the trigger became a run of its own.
	DispositionCreated Disposition = "Created"
	// DispositionCoalesced means that the waiting run of the key absorbed the trigger.
	DispositionCoalesced Disposition = "Coalesced"
	// DispositionIdempotent means that the trigger was delivered before and
	// that the run of the first delivery stands for it.
	DispositionIdempotent Disposition = "Idempotent"
)

// BatchDecision says what became of a batch of triggers. It is made once.
//
// +kubebuilder:validation:Enum=Started;Withdrawn
type BatchDecision string

const (
	// BatchStarted means that all members exist: each is a trigger like any other.
	BatchStarted BatchDecision = "Started"
	// BatchWithdrawn means that the batch was cancelled, or not whole in time:
	// its members end Cancelled, and none of them ever executes.
	BatchWithdrawn BatchDecision = "Withdrawn"
)

// LeaseExpiredPolicy says what becomes of a run whose lease expired while
// another run waits for its key.
//
// +kubebuilder:validation:Enum=Fail;Requeue
type LeaseExpiredPolicy string

const (
	// OnLeaseExpiredFail fails the run: the one that waits does its work.
	OnLeaseExpiredFail LeaseExpiredPolicy = "Fail"
	// OnLeaseExpiredRequeue lets the run wait again in the place of the one that
	// waits, which becomes its receipt.
	OnLeaseExpiredRequeue LeaseExpiredPolicy = "Requeue"
)

// Phase says where a JobRun is in its life. An empty phase means that nothing
// is known yet, or that the run waits for its key to become free.
//
// +kubebuilder:validation:Enum=Pending;Leased;Completed;Failed;Cancelled;Coalesced;Idempotent
type Phase string

const (
	// PhasePending means that the run is the one that waits for its key.
	PhasePending Phase = "Pending"
	// PhaseLeased means that somebody holds the run's lease and executes it.
	PhaseLeased Phase = "Leased"
	// PhaseCompleted means that the run ended well. Final.
	PhaseCompleted Phase = "Completed"
	// PhaseFailed means that the run ended badly; status.error says why. Final.
	PhaseFailed Phase = "Failed"
	// PhaseCancelled means that the run was cancelled. Final.
	PhaseCancelled Phase = "Cancelled"
	// PhaseCoalesced marks a receipt that another run absorbed. Final; the
	// outcome of that run appears in the receipt's conditions.
	PhaseCoalesced Phase = "Coalesced"
	// PhaseIdempotent marks a receipt of a trigger that was delivered before.
	// Final; the outcome of the run appears in the receipt's conditions.
	PhaseIdempotent Phase = "Idempotent"
)

// Condition types of a JobRun. At most one of Complete, Failed and Cancelled is
// ever True; a receipt has the one of its run.
const (
	// ConditionComplete is True once the run, or the run that stands for a receipt, ended well.
	ConditionComplete = "Complete"
	// ConditionFailed is True once the run, or the run that stands for a receipt, failed.
	ConditionFailed = "Failed"
	// ConditionCancelled is True once the run, or the run that stands for a receipt, was cancelled or deleted.
	ConditionCancelled = "Cancelled"
	// ConditionCoalesced is True on a receipt that is bound to the run that stands for it.
	ConditionCoalesced = "Coalesced"
)

// JobRunSpec is what a trigger asks for. It is immutable, but for cancel,
// which may go from false to true.
type JobRunSpec struct {
	// jobName names the job that this is a run of. A DNS-1123 label: lower-case
	// letters, digits and '-', at most 63 characters. It scopes concurrencyKey
	// and idempotencyKey: two jobs never share a key. Immutable.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	JobName string `json:"jobName,omitempty"`

	// input is handed to whoever executes the run: any JSON value, at most
	// 64 KiB. null is the same as no input. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Input *apiextensionsv1.JSON `json:"input,omitempty"`

	// concurrencyKey is the key of the run: per namespace, jobName and
	// concurrencyKey at most one run executes and at most one waits. Any
	// characters, 1 to 256 of them. Without it runs are not limited. Immutable.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ConcurrencyKey string `json:"concurrencyKey,omitempty"`

	// coalesce says what becomes of this trigger when a run already waits for
	// its key. Skip: the waiting run stays as it is and absorbs this trigger,
	// which becomes a receipt. Without it such a trigger is refused with a 409
	// Conflict that names the waiting run. Needs concurrencyKey. Immutable.
	//
	// +optional
	Coalesce CoalescePolicy `json:"coalesce,omitempty"`

	// idempotencyKey identifies this trigger across deliveries: a second
	// trigger with the same namespace, jobName and idempotencyKey, while the
	// first one's run still exists, starts nothing and is answered with that
	// run. Any characters, 1 to 256 of them. Immutable.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	IdempotencyKey string `json:"idempotencyKey,omitempty"`

	// template describes the Job that executes the run. The operator adds the
	// JOBRUN_* environment to every container and owns the Job's name and
	// ttlSecondsAfterFinished. Without a template the run waits for an
	// external worker to claim it. Immutable.
	//
	// +optional
	Template *batchv1.JobTemplateSpec `json:"template,omitempty"`

	// leaseDurationSeconds is how long a lease lives without renewal, 1 to
	// 86400 seconds. An external worker's lease lives 30 seconds when this is
	// not set; a Job's lease then ends only with the Job. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	LeaseDurationSeconds int32 `json:"leaseDurationSeconds,omitempty"`

	// activeDeadlineSeconds is how long a lease of this run may last, renewed or
	// not, at least 1 second. A run that executes for longer fails with the reason
	// DeadlineExceeded. A template's own activeDeadlineSeconds holds too; the
	// shorter one counts. Without it nothing bounds a run that is renewed. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`

	// maxAttempts is how many leases of this run may expire before it fails,
	// 1 to 1000; 3 when it is not set. Immutable.
	//
	// +optional
	// +default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxAttempts int32 `json:"maxAttempts,omitempty"`

	// onLeaseExpired says what becomes of the run when its lease expires, or its
	// worker gives it back, while another run waits for its key. Fail: the run
	// fails with the reason LeaseExpired. Requeue: the run waits again, and the one
	// that waits becomes its receipt if it has coalesce Skip, with all receipts of
	// its own; if it has not, the run fails as with Fail. While nobody waits, the
	// run waits again whatever this says, and once maxAttempts leases have expired
	// it fails. Immutable.
	//
	// +optional
	// +default="Fail"
	OnLeaseExpired LeaseExpiredPolicy `json:"onLeaseExpired,omitempty"`

	// ttlSecondsAfterFinished is how long the JobRun is kept once it has an
	// outcome, in seconds; 0 deletes it at once. Without it the JobRun is kept
	// until somebody deletes it. A run is kept as long as one of its receipts
	// has no outcome. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// batch makes this trigger a member of a batch, all of which is triggered or
	// nothing: no member executes before all exist. The leader is created first;
	// all members carry the same values. The batch is withdrawn, and its members
	// end Cancelled, if not all exist after 60 seconds or if the leader is
	// cancelled before the batch has started. Immutable.
	//
	// +optional
	Batch *BatchMember `json:"batch,omitempty"`

	// cancel asks that the run end without result: a waiting run leaves its
	// key at once, an executing one ends when its Job and Pods are gone. It
	// cannot be taken back. On a receipt that has no outcome yet it ends the
	// receipt alone, never the run that stands for it.
	//
	// +optional
	Cancel *bool `json:"cancel,omitempty"`

	// admission is what became of this trigger. The operator's webhook writes
	// it, whatever the caller sends, and the answer of the create carries it.
	//
	// +optional
	Admission *Admission `json:"admission,omitempty"`
}

// BatchMember names the batch that a trigger is a member of. All members carry
// the same values. The leader is created first, and cancelling it before the
// batch has started withdraws the batch. A batch of which not all members exist
// after 60 seconds is withdrawn by the operator.
type BatchMember struct {
	// id identifies the batch in its namespace. It must never be used again, a
	// UUID serves. 1 to 64 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id,omitempty"`

	// size is how many members the batch has, the leader included, 1 to 1000.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Size int32 `json:"size,omitempty"`

	// leader is the name of the member whose status.batch records what becomes
	// of the batch.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Leader string `json:"leader,omitempty"`
}

// Admission is the webhook's record of a trigger.
type Admission struct {
	// disposition says what became of the trigger: Created, Coalesced or Idempotent.
	//
	// +required
	Disposition Disposition `json:"disposition,omitempty"`

	// runName names the run that stands for this trigger: itself when Created.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RunName string `json:"runName,omitempty"`

	// runToken identifies the run that stands for this trigger. A name can be
	// used again, a token cannot.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RunToken string `json:"runToken,omitempty"`

	// keyVersion is the resourceVersion of the RunKey in the read that showed
	// the run waiting. Set on Coalesced triggers only.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	KeyVersion string `json:"keyVersion,omitempty"`

	// token identifies this trigger.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Token string `json:"token,omitempty"`
}

// ObjectReference names an object in the same namespace.
type ObjectReference struct {
	// name of the object.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid of the object.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`
}

// RunLease says who executes a run, and until when.
type RunLease struct {
	// holderIdentity names the holder: a Job as job/<name>, an external worker
	// by the name of the coordination.k8s.io Lease it renews, or by any other
	// name if it renews renewTime; its name must not begin with job/. Empty while
	// nobody holds the lease.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	HolderIdentity string `json:"holderIdentity,omitempty"`

	// generation is the fencing token of the run: it rises by one at each
	// acquisition and at each expiry, and never falls. Each run begins anew.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// keyVersion is the resourceVersion of the RunKey that the claim's
	// compare-and-swap was based on. It is the fencing token of the key: as a
	// decimal number it rises from each lease of the key to the next, whichever
	// run has it. Not set on runs without a concurrencyKey.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	KeyVersion string `json:"keyVersion,omitempty"`

	// acquireTime is when this lease was acquired, with six digits of a second's
	// fraction, as in a Lease: 2026-01-02T15:04:05.000000Z.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$`
	AcquireTime *metav1.MicroTime `json:"acquireTime,omitempty"`

	// renewTime is when the holder last renewed. The lease counts as expired
	// when it was seen unchanged for durationSeconds by the operator's own clock.
	// It has six digits of a second's fraction, as in a Lease:
	// 2026-01-02T15:04:05.000000Z.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$`
	RenewTime *metav1.MicroTime `json:"renewTime,omitempty"`

	// durationSeconds is how long the lease lives without renewal. Not set on
	// a Job's lease that ends only with the Job.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
}

// CoalescedTriggers is the durable record of the triggers a run absorbed.
type CoalescedTriggers struct {
	// count is how many triggers this run absorbed, each counted exactly once.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Count int64 `json:"count,omitempty"`

	// recent holds the triggers that were absorbed last, at most 32, the
	// latest at the end.
	//
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Recent []CoalescedTrigger `json:"recent,omitempty"`
}

// CoalescedTrigger is one absorbed trigger, by its receipt.
type CoalescedTrigger struct {
	// name of the receipt.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid of the receipt.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`

	// time the receipt was created.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	Time *metav1.Time `json:"time,omitempty"`

	// input that was skipped, as JSON text cut to 1 KiB.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Input string `json:"input,omitempty"`

	// labels of the receipt, without those of the operator, at most 16.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
}

// BatchStatus says what became of a batch.
type BatchStatus struct {
	// decision is Started or Withdrawn. It never changes.
	//
	// +required
	Decision BatchDecision `json:"decision,omitempty"`
}

// Progress is what the holder last reported.
type Progress struct {
	// generation of the lease that reports. It must be the current one.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// current is how much is done, in units of the job's own.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Current *int64 `json:"current,omitempty"`

	// total is how much there is to do, in the units of current.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total *int64 `json:"total,omitempty"`

	// message is one line for people.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// JobRunStatus is what is known of a run or a receipt.
//
// +kubebuilder:validation:MinProperties=0
type JobRunStatus struct {
	// phase says where the JobRun is in its life: Pending, Leased, Completed,
	// Failed, Cancelled for a run; Coalesced, Idempotent for a receipt. Empty
	// until known, and while a run waits for its key to become free.
	//
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// runRef is the run that stands for this trigger: the JobRun itself unless
	// it is a receipt. Where it differs from spec.admission, this is right.
	//
	// +optional
	RunRef *ObjectReference `json:"runRef,omitempty"`

	// lease says who executes the run, and until when. It stays after the run
	// ended.
	//
	// +optional
	Lease *RunLease `json:"lease,omitempty"`

	// finishedGeneration is the generation of the lease whose holder ended the
	// run. The API server refuses a terminal phase unless it equals
	// lease.generation, so a holder that lost its lease cannot end the run.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	FinishedGeneration int64 `json:"finishedGeneration,omitempty"`

	// attempts is how many leases of this run expired.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Attempts int32 `json:"attempts,omitempty"`

	// batch says what became of the batch that this trigger is a member of: on
	// the leader as soon as it is decided, on the other members with their next
	// change. Not set while it is undecided.
	//
	// +optional
	Batch *BatchStatus `json:"batch,omitempty"`

	// coalesced is the record of the triggers that this run absorbed.
	//
	// +optional
	Coalesced *CoalescedTriggers `json:"coalesced,omitempty"`

	// jobRef is the Job of the current lease.
	//
	// +optional
	JobRef *ObjectReference `json:"jobRef,omitempty"`

	// output is the result of a completed run, any JSON value. For a Job: the
	// termination message of its first container, at most 4 KiB; a JSON string
	// if it is no JSON itself. A receipt has the output of its run, if there is
	// room for it.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Output *apiextensionsv1.JSON `json:"output,omitempty"`

	// progress is what the holder last reported.
	//
	// +optional
	Progress *Progress `json:"progress,omitempty"`

	// error is one line for people: why the run failed or was cancelled, or
	// what it waits for while it cannot go on.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`

	// startTime is when the run was leased first.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the run, or the run of a receipt, got its outcome.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// observedGeneration is the metadata.generation that this status is about.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Complete, Failed, Cancelled and Coalesced.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// JobRun is one trigger of a job. It becomes a run that executes, or, when a
// run already waits for its key, a receipt of that run. For each namespace,
// jobName and concurrencyKey at most one run executes and at most one waits.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=jr,categories=all
// +kubebuilder:selectablefield:JSONPath=`.spec.jobName`
// +kubebuilder:selectablefield:JSONPath=`.spec.concurrencyKey`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.jobName`
// +kubebuilder:printcolumn:name="Key",type=string,JSONPath=`.spec.concurrencyKey`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.status.runRef.name`,description="The run that stands for this trigger"
// +kubebuilder:printcolumn:name="Coalesced",type=integer,JSONPath=`.status.coalesced.count`,description="How many triggers this run absorbed"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.status.lease.holderIdentity`,priority=1
// +kubebuilder:printcolumn:name="Attempts",type=integer,JSONPath=`.status.attempts`,priority=1
// +kubebuilder:printcolumn:name="Error",type=string,JSONPath=`.status.error`,priority=1
type JobRun struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. With a template the name has
	// at most 52 characters. The operator stamps the labels
	// batch.jobrun.dev/job-name, batch.jobrun.dev/key and
	// batch.jobrun.dev/disposition and keeps them.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the trigger asks for.
	//
	// +required
	Spec JobRunSpec `json:"spec,omitzero"`

	// status is what is known of the run or the receipt.
	//
	// +optional
	Status JobRunStatus `json:"status,omitzero"`
}

// JobRunList is a list of JobRuns.
//
// +kubebuilder:object:root=true
type JobRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []JobRun `json:"items"`
}
