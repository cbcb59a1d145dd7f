// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// CoalescePolicy decides what becomes of a trigger when a run already waits for its key.
//
// +kubebuilder:validation:Enum=Skip
type CoalescePolicy string

const (
	// CoalesceSkip keeps the waiting run as it is and absorbs the trigger.
	CoalesceSkip CoalescePolicy = "Skip"
)

// CoalescePolicies are the values of spec.coalesce. If it is not set, the webhook refuses a trigger that
// finds a waiting run.
var CoalescePolicies = []CoalescePolicy{CoalesceSkip}

// Disposition is what became of a trigger.
//
// +kubebuilder:validation:Enum=Created;Coalesced;Idempotent
type Disposition string

const (
	// DispositionCreated means that the trigger became a run of its own.
	DispositionCreated Disposition = "Created"
	// DispositionCoalesced means that the waiting run of the key absorbed the trigger.
	DispositionCoalesced Disposition = "Coalesced"
	// DispositionIdempotent means that the trigger was delivered before. The run of the first delivery stands
	// for it.
	DispositionIdempotent Disposition = "Idempotent"
)

// Executor is what executes a run.
//
// +kubebuilder:validation:Enum=Job;Worker
type Executor string

const (
	// ExecutorJob means that the operator creates a Job for the run.
	ExecutorJob Executor = "Job"
	// ExecutorWorker means that an external worker claims the run.
	ExecutorWorker Executor = "Worker"
)

// BatchDecision is what became of a batch of triggers. It never changes.
//
// +kubebuilder:validation:Enum=Started;Withdrawn
type BatchDecision string

const (
	// BatchStarted means that all members exist. Each is a trigger like any other from then on.
	BatchStarted BatchDecision = "Started"
	// BatchWithdrawn means that the batch was cancelled, or was not complete in time. Its members end
	// Cancelled, and none of them ever executes.
	BatchWithdrawn BatchDecision = "Withdrawn"
)

// LeaseExpiredPolicy decides what becomes of a run whose lease expired while another run waits for its key.
//
// +kubebuilder:validation:Enum=Fail;Requeue
type LeaseExpiredPolicy string

const (
	// OnLeaseExpiredFail fails the run: the waiting run does its work.
	OnLeaseExpiredFail LeaseExpiredPolicy = "Fail"
	// OnLeaseExpiredRequeue lets the run wait again in the place of the waiting run, which becomes its
	// receipt.
	OnLeaseExpiredRequeue LeaseExpiredPolicy = "Requeue"
)

// JobLostPolicy decides what becomes of a run whose Job is gone before the operator knew how it ended.
//
// +kubebuilder:validation:Enum=Requeue;Fail
type JobLostPolicy string

const (
	// OnJobLostRequeue treats the loss as an expired lease. The work may be done twice.
	OnJobLostRequeue JobLostPolicy = "Requeue"
	// OnJobLostFail fails the run. Perhaps its work was not done, or only in part.
	OnJobLostFail JobLostPolicy = "Fail"
)

// IdempotencyReleasePolicy decides whether a run that did not complete releases its idempotency key.
//
// +kubebuilder:validation:Enum=Never;OnFailure
type IdempotencyReleasePolicy string

const (
	// IdempotencyReleaseNever keeps the key, however the run ends.
	IdempotencyReleaseNever IdempotencyReleasePolicy = "Never"
	// IdempotencyReleaseOnFailure releases the key when the run ends Failed or Cancelled.
	IdempotencyReleaseOnFailure IdempotencyReleasePolicy = "OnFailure"
)

// Phase is where a JobRun is in its life. An empty phase means that nothing is known yet, or that the run
// waits until another run leaves the waiting place of its key.
//
// +kubebuilder:validation:Enum=Pending;Leased;Completed;Failed;Cancelled;Coalesced;Idempotent
type Phase string

const (
	// PhasePending means that the run has the waiting place of its key, or that an external worker can claim
	// it.
	PhasePending Phase = "Pending"
	// PhaseLeased means that a Job or an external worker holds the lease and executes the run.
	PhaseLeased Phase = "Leased"
	// PhaseCompleted means that the run succeeded. Final.
	PhaseCompleted Phase = "Completed"
	// PhaseFailed means that the run failed. status.error has the reason. Final.
	PhaseFailed Phase = "Failed"
	// PhaseCancelled means that the run was cancelled. Final.
	PhaseCancelled Phase = "Cancelled"
	// PhaseCoalesced means that the JobRun is a receipt: another run absorbed its trigger. Final. The
	// conditions show the outcome of that run.
	PhaseCoalesced Phase = "Coalesced"
	// PhaseIdempotent means that the JobRun is a receipt: its trigger was delivered before. Final. The
	// conditions show the outcome of the first delivery's run.
	PhaseIdempotent Phase = "Idempotent"
)

// Condition types of a JobRun. At most one of Complete, Failed and Cancelled is ever True. A receipt has the
// one of its run. Ready and Stalled say the same in the words of kstatus, which Flux, Helm and others use.
const (
	// ConditionComplete is True on a run that completed, and on its receipts.
	ConditionComplete = "Complete"
	// ConditionFailed is True on a run that failed, and on its receipts.
	ConditionFailed = "Failed"
	// ConditionCancelled is True on a run that was cancelled or deleted, and on its receipts.
	ConditionCancelled = "Cancelled"
	// ConditionCoalesced is True on a receipt that is bound to the run that stands for it.
	ConditionCoalesced = "Coalesced"
	// ConditionReady is True on a run that completed, and on its receipts. It is False on all other JobRuns
	// that the operator has written.
	ConditionReady = "Ready"
	// ConditionStalled is True on a run that failed or was cancelled, and on its receipts. No other JobRun has
	// it.
	ConditionStalled = "Stalled"
)

// JobRunSpec is what a trigger asks for. It is immutable, except that cancel may change from false to true.
type JobRunSpec struct {
	// jobName is the job that this is a run of. It is a DNS-1123 label: lower-case letters, digits and '-',
	// starting and ending with a letter or digit, at most 63 characters. It scopes concurrencyKey and
	// idempotencyKey: two jobs never share a key. Immutable.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	JobName string `json:"jobName,omitempty"`

	// input is any JSON value for the Job or the worker that executes the run, at most 64 KiB and 64 levels of
	// arrays and objects. null is the same as no input. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Input *apiextensionsv1.JSON `json:"input,omitempty"`

	// concurrencyKey is the key of the run. For each namespace, jobName and concurrencyKey, at most one run
	// executes and at most one waits. It has 1 to 256 characters of any kind but control characters. A run
	// without it is not limited. Immutable.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ConcurrencyKey string `json:"concurrencyKey,omitempty"`

	// coalesce decides what becomes of this trigger when a run already waits for its key. Skip: the waiting
	// run stays as it is and absorbs this trigger, which becomes a receipt. Not set: the trigger is refused
	// with a 409 Conflict that names the waiting run. Needs concurrencyKey. Immutable.
	//
	// +optional
	Coalesce CoalescePolicy `json:"coalesce,omitempty"`

	// idempotencyKey identifies this trigger across deliveries. While the run of the first delivery exists (see
	// ttlSecondsAfterFinished), a second trigger with the same namespace, jobName and idempotencyKey starts
	// nothing and is answered with that run. idempotencyTTLSeconds and idempotencyRelease change how long that
	// lasts. It has 1 to 256 characters of any kind but control characters. Immutable.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	IdempotencyKey string `json:"idempotencyKey,omitempty"`

	// idempotencyTTLSeconds is how long the idempotencyKey is remembered after the run has ended, 1 to 604800
	// seconds, whether or not the run still exists. Until then, a second delivery starts nothing and gets the
	// outcome of that run. If it is not set, the key is remembered as long as the run exists. The delivery
	// that brought the key decides: the value of a later delivery has no effect. A run that is deleted before
	// it has ended leaves nothing to remember. Needs idempotencyKey. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	IdempotencyTTLSeconds int32 `json:"idempotencyTTLSeconds,omitempty"`

	// idempotencyRelease decides what becomes of the idempotencyKey when the run ends without success. Never,
	// the default: the key stays, and a second delivery gets the outcome of the run. OnFailure: a run that
	// ends Failed or Cancelled releases the key at once, so the next delivery executes. A run that completes
	// never releases it. The delivery that brought the key decides: the value of a later delivery has no
	// effect. Needs idempotencyKey. Immutable.
	//
	// +optional
	IdempotencyRelease IdempotencyReleasePolicy `json:"idempotencyRelease,omitempty"`

	// template describes the Job that executes the run. The operator adds the JOBRUN_* environment to every
	// container, and names the Job. The Job and its Pods also get the labels and annotations of the JobRun,
	// where the template does not say otherwise. Those of kubectl, of GitOps tools and of the operator itself
	// do not reach them. The template's ttlSecondsAfterFinished counts from the completionTime of
	// the run, and lasts at least 60 seconds. If it is not set, the operator's flag --job-ttl decides, by
	// default 24 hours. If podReplacementPolicy is not set, the operator sets it to Failed, so that a Pod ends
	// before the next one starts. A run without a template is executed by the template of its JobDefinition. If there is
	// none, it waits for an external worker to claim it. A caller that triggers with a template needs the right to
	// create Jobs. A job whose definition has a template takes none from a trigger. Immutable.
	//
	// +optional
	Template *batchv1.JobTemplateSpec `json:"template,omitempty"`

	// leaseDurationSeconds is how long a lease lasts without renewal, 1 to 86400 seconds. If it is not set,
	// an external worker's lease lasts 30 seconds, and a Job's lease ends only with the Job. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	LeaseDurationSeconds int32 `json:"leaseDurationSeconds,omitempty"`

	// activeDeadlineSeconds is how long a lease of this run may last, at least 1 second. Then the run fails
	// with the reason DeadlineExceeded, whether it was renewed or not, and whether its Job executes, is
	// suspended or is refused. Its key is free once nothing of the run executes. The template's own
	// activeDeadlineSeconds applies too, but counts only while the Job is not suspended. If
	// activeDeadlineSeconds is not set, nothing bounds a run that is renewed. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`

	// maxAttempts is how many leases of this run may expire before it fails, 1 to 1000. The default is 3.
	// Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxAttempts int32 `json:"maxAttempts,omitempty"`

	// onLeaseExpired decides what becomes of the run when its lease expires, or its worker gives it back,
	// while another run waits for its key. Fail, the default: the run fails with the reason LeaseExpired.
	// Requeue: the run waits again if the waiting run has coalesce Skip. The waiting run and all its receipts
	// then become receipts of this run. If the waiting run does not have coalesce Skip, Requeue is the same
	// as Fail. If no other run waits, the run waits again under both values. Once maxAttempts leases have
	// expired, the run fails under both. Immutable.
	//
	// +optional
	OnLeaseExpired LeaseExpiredPolicy `json:"onLeaseExpired,omitempty"`

	// onJobLost decides what becomes of the run when its Job is gone before the operator knew how it ended, for
	// example because a user or a cleaner deleted the Job. Requeue, the default: the lease expires, which
	// counts an attempt, and the run waits again, unless maxAttempts or onLeaseExpired makes it fail. Its work
	// may be done twice. Fail: the run fails with the reason JobLost. Perhaps its work was not done, or only in
	// part. onJobLost has no effect on a run without a template. Immutable.
	//
	// +optional
	OnJobLost JobLostPolicy `json:"onJobLost,omitempty"`

	// ttlSecondsAfterFinished is how many seconds the JobRun is kept after it has an outcome. 0 deletes it at
	// once. If it is not set, the operator's flag --run-ttl decides, by default 168 hours. The operator keeps a
	// run while one of its receipts has no outcome. Immutable.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// batch makes this trigger a member of a batch: all members are triggered, or none. No member executes
	// before all exist. The leader is created first, and all members have the same values here. The operator
	// withdraws the batch if not all members exist after 60 seconds, or if the leader is cancelled before the
	// batch has started. The members of a withdrawn batch end Cancelled. Immutable.
	//
	// +optional
	Batch *BatchMember `json:"batch,omitempty"`

	// represents says that this JobRun stands for several triggers, and not for one: those of callers who came
	// while a create for the same key was under way. The gateway alone sets it. The others differ from this
	// trigger in nothing but their input. Each of them is counted exactly once, in status.coalesced.count of the
	// run that stands for them. Needs coalesce, and takes neither idempotencyKey nor batch. A JobRun that stands
	// for several triggers cannot be cancelled before it executes. The operator deletes it 2 minutes after its
	// creation at the earliest. Immutable.
	//
	// +optional
	Represents *Represents `json:"represents,omitempty"`

	// cancel asks the operator to end the run without a result. A waiting run leaves its key at once. An
	// executing run ends when its Job and Pods are gone. cancel cannot be taken back. On a receipt without an
	// outcome, it ends the receipt alone and never the run that stands for it. With represents, cancel is
	// refused before the run executes.
	//
	// +optional
	Cancel *bool `json:"cancel,omitempty"`

	// admission is what became of this trigger. The operator's webhook writes it, whatever the caller sends.
	// The response to the create contains it.
	//
	// +optional
	Admission *Admission `json:"admission,omitempty"`
}

// BatchMember names the batch that a trigger is a member of. All members have the same values. The leader is
// created first, and cancelling it before the batch has started withdraws the batch. The operator withdraws a
// batch if not all members exist after 60 seconds.
type BatchMember struct {
	// id identifies the batch in its namespace. Use each id for one batch only, for example a UUID. The webhook
	// refuses an id of another leader's batch, and of an earlier batch, while it sees a JobRun of that. 1 to 64
	// characters of any kind but control characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id,omitempty"`

	// size is the number of members, including the leader, 1 to 1000. The batch starts when that many exist. The
	// webhook refuses a further member, and one with another size, when it sees the others. One that is created
	// at the same moment may become a member, too, and executes with the others.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Size int32 `json:"size,omitempty"`

	// leader is the name of the member whose status.batch records what becomes of the batch.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Leader string `json:"leader,omitempty"`
}

// Represents says for how many triggers one JobRun stands, and describes the others.
type Represents struct {
	// count is the number of triggers that the JobRun stands for, itself included, 2 to 100000.
	//
	// +required
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100000
	Count int32 `json:"count,omitempty"`

	// recent has the latest of these triggers besides the first one, whose input is spec.input. It has at most 32
	// and count - 1 entries, and its JSON at most 32 KiB. The oldest is first. An entry is whole or left out.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Recent []RepresentedTrigger `json:"recent,omitempty"`
}

// RepresentedTrigger describes one of the triggers that a JobRun stands for.
type RepresentedTrigger struct {
	// input is the input of the trigger: any JSON value, at most 64 levels of arrays and objects. Not set if the
	// trigger has none.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Input *apiextensionsv1.JSON `json:"input,omitempty"`

	// time is when the trigger arrived. It has six fractional digits: 2026-01-02T15:04:05.000000Z.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$`
	Time metav1.MicroTime `json:"time,omitzero"`

	// user is the name of the user that sent the trigger. It is cut to 1 KiB.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	User string `json:"user,omitempty"`
}

// Admission is the webhook's record of a trigger.
type Admission struct {
	// disposition is what became of the trigger: Created, Coalesced or Idempotent.
	//
	// +required
	Disposition Disposition `json:"disposition,omitempty"`

	// runName is the name of the run that stands for this trigger: the JobRun itself when Created.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RunName string `json:"runName,omitempty"`

	// runToken identifies the run that stands for this trigger. A name can be used again, a token cannot.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RunToken string `json:"runToken,omitempty"`

	// keyVersion is the resourceVersion of the RunKey in the read that showed the run waiting. Only Coalesced
	// triggers have it.
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

	// executor is what executes the run: Job, if the JobRun or its definition has a template, or else Worker. It never
	// changes. A JobRun of an operator that did not know definitions does not have it: a template decides then.
	//
	// +optional
	Executor Executor `json:"executor,omitempty"`

	// definition is the JobDefinition that completed this trigger. Not set if the job has none.
	//
	// +optional
	Definition *DefinitionReference `json:"definition,omitempty"`

	// represents is spec.represents.count, if the webhook admitted the JobRun to stand for several triggers. Without it, the
	// API server refuses spec.represents.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100000
	Represents int32 `json:"represents,omitempty"`

	// restore is the name of the Velero restore that created this JobRun from a backup. It had been triggered before the backup,
	// so it does not execute again: spec.cancel is true, and it ends Cancelled with the reason Restored.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Restore string `json:"restore,omitempty"`
}

// DefinitionReference names one generation of a JobDefinition in the same namespace.
type DefinitionReference struct {
	// name is the name of the JobDefinition.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// uid is the UID of the JobDefinition.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`

	// generation is the metadata.generation of the JobDefinition.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`
}

// ObjectReference names an object in the same namespace.
type ObjectReference struct {
	// name is the name of the object.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid is the UID of the object.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`
}

// RunLease records which holder executes a run, and until when.
type RunLease struct {
	// holderIdentity is the name of the holder. It is job/<name> for a Job. For an external worker, it is the
	// name of the coordination.k8s.io Lease that the worker renews, or any other name if the worker renews
	// renewTime instead. It must not begin with job/ then. It is empty while the lease has no holder, and
	// changes only with a higher generation.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	HolderIdentity string `json:"holderIdentity,omitempty"`

	// generation is the fencing token of the run. It rises by one at each acquisition and at each expiry, and
	// never falls. Each run counts anew.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// keyVersion is the resourceVersion of the RunKey that the claim's compare-and-swap was based on. It is
	// the fencing token of the key: as a decimal number, it rises from each lease of the key to the next,
	// across all its runs. A run without a concurrencyKey does not have it.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	KeyVersion string `json:"keyVersion,omitempty"`

	// acquireTime is when the holder acquired this lease. It has six fractional digits, as in a Lease:
	// 2026-01-02T15:04:05.000000Z.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$`
	AcquireTime *metav1.MicroTime `json:"acquireTime,omitempty"`

	// renewTime is when the holder last renewed the lease. The lease expires when the operator has seen it
	// unchanged for durationSeconds, by its own clock. It has six fractional digits, as in a Lease:
	// 2026-01-02T15:04:05.000000Z.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$`
	RenewTime *metav1.MicroTime `json:"renewTime,omitempty"`

	// durationSeconds is how long the lease lasts without renewal, in seconds. It is not set on a Job's lease
	// that ends only with the Job.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
}

// CoalescedTriggers is the durable record of the triggers that a run absorbed.
type CoalescedTriggers struct {
	// count is the number of triggers that this run absorbed. Each is counted exactly once. A receipt with
	// spec.represents counts as many as it represents. A run with spec.represents counts all of those but one.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Count int64 `json:"count,omitempty"`

	// recent has the triggers that this run absorbed last, at most 32. The latest is at the end.
	//
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Recent []CoalescedTrigger `json:"recent,omitempty"`
}

// CoalescedTrigger describes one absorbed trigger by its receipt.
type CoalescedTrigger struct {
	// name is the name of the receipt.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid is the UID of the receipt.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID types.UID `json:"uid,omitempty"`

	// time is when the receipt was created.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	Time *metav1.Time `json:"time,omitempty"`

	// input is the skipped input of the trigger, as JSON text cut to 1 KiB.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Input string `json:"input,omitempty"`

	// represents is the number of triggers that the receipt stood for. Not set if it stood for one.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100000
	Represents int32 `json:"represents,omitempty"`

	// moreInputs are skipped inputs of the latest further triggers that the receipt represents, as JSON texts. The
	// oldest is first. They are whole, at most 8, and have 1 KiB together. The receipt has more of them in
	// spec.represents.recent.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	MoreInputs []string `json:"moreInputs,omitempty"`

	// labels are the labels of the receipt without those of the operator, at most 16.
	//
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
}

// BatchStatus is what became of a batch.
type BatchStatus struct {
	// decision is Started or Withdrawn. It never changes.
	//
	// +required
	Decision BatchDecision `json:"decision,omitempty"`
}

// Progress is what the holder last reported.
type Progress struct {
	// generation is the generation of the lease whose holder reports. It must be the current one.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`

	// current is how much is done, in a unit of the job's own.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Current *int64 `json:"current,omitempty"`

	// total is how much there is to do, in the unit of current.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total *int64 `json:"total,omitempty"`

	// message is one line of text for people.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// RunFailure describes what failed in the Pod of a run.
//
// +kubebuilder:validation:MinProperties=1
type RunFailure struct {
	// container is the container that failed: the template's first container if it failed, or else the first
	// one that did, init containers before others. Not set if no container of the Pod failed.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Container string `json:"container,omitempty"`

	// exitCode is the exit code of the container. Not set without a container.
	//
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`

	// reason is why the Pod failed, e.g. Evicted, or else why its container did, e.g. OOMKilled or Error.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`

	// message is the message of the Pod, or else the termination message of the container. Of a text of more
	// than 2 KiB, it is the end. Unless the template chooses another terminationMessagePolicy, a container
	// that wrote no termination message has the end of its log here.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
}

// JobRunStatus is what is known of a run or a receipt.
//
// +kubebuilder:validation:MinProperties=0
type JobRunStatus struct {
	// phase is where the JobRun is in its life: Pending, Leased, Completed, Failed or Cancelled for a run,
	// Coalesced or Idempotent for a receipt. Empty until known, and while a run waits until another one
	// leaves the waiting place of its key.
	//
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// runRef is the run that stands for this trigger: the JobRun itself unless it is a receipt. Where it
	// differs from spec.admission, runRef is right.
	//
	// +optional
	RunRef *ObjectReference `json:"runRef,omitempty"`

	// stored is the resourceVersion with which the JobRun was created. The operator records it with its first
	// write. Runs that wait in line for their key get the waiting place in the order of this version, because
	// creationTimestamp has whole seconds only. Another value is refused once it is set. But a client that does
	// not know the field may remove it when it replaces the status. The operator then records the version that
	// it finds.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Stored string `json:"stored,omitempty"`

	// lease records which holder executes the run, and until when. It stays after the run has ended.
	//
	// +optional
	Lease *RunLease `json:"lease,omitempty"`

	// finishedGeneration is the generation of the lease that the run ended under. The API server refuses a
	// terminal phase unless it equals lease.generation, so a holder that lost its lease cannot end the run. A
	// run that was never leased ends without it.
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

	// batch is what became of the batch that this trigger is a member of. The leader has it as soon as the
	// batch is decided, and the other members with their next change. Not set while the batch is undecided.
	//
	// +optional
	Batch *BatchStatus `json:"batch,omitempty"`

	// coalesced is the record of the triggers that this run absorbed.
	//
	// +optional
	Coalesced *CoalescedTriggers `json:"coalesced,omitempty"`

	// definition is the JobDefinition whose template the Job of the current lease was made from. Only a run without a
	// template of its own has it.
	//
	// +optional
	Definition *DefinitionReference `json:"definition,omitempty"`

	// jobRef is the Job of the current lease.
	//
	// +optional
	JobRef *ObjectReference `json:"jobRef,omitempty"`

	// output is the result of a completed run, any JSON value. An external worker writes it with the end of
	// the run, at most 256 KiB and 64 levels of arrays and objects. For a Job, it is the termination message
	// of the template's first container, at most 4 KiB, or that message as a JSON string if it is not JSON or
	// has more levels. Of several Pods, the one with the lowest completion index counts; without indexes, the
	// one that succeeded last. A receipt has the output of its run if there is room for it. Final once the
	// JobRun has ended.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Output *apiextensionsv1.JSON `json:"output,omitempty"`

	// progress is what the holder last reported.
	//
	// +optional
	Progress *Progress `json:"progress,omitempty"`

	// error is one line of text for people: why the run failed or was cancelled, why it does not get on while
	// it has no outcome, why it waits again after its Job was lost, or why the output of a completed run is
	// unknown. The operator clears it when the run gets on. While a worker holds the run, the text is the
	// worker's.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`

	// failure is what failed in the Pods of a failed run. Of several Pods, it is the one that failed last. It
	// is not set if no Pod of the Job was left to tell. A receipt has the failure of its run if there is room
	// for it.
	//
	// +optional
	Failure *RunFailure `json:"failure,omitempty"`

	// startTime is when the run was first leased.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the run got its outcome. A receipt has the time of its run.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z$`
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// observedGeneration is the metadata.generation that this status describes. It is -1 until the operator has
	// written the status, and after a client has replaced the status without it.
	//
	// +optional
	// +default=-1
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Complete, Failed, Cancelled and Coalesced, and Ready and Stalled for kstatus.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// JobRun is one trigger of a job. It becomes a run that executes, or a receipt of a run that already waits
// for its key and absorbs it. For each namespace, jobName and concurrencyKey, at most one run executes and at
// most one waits.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=jr,categories=all
// +kubebuilder:selectablefield:JSONPath=`.spec.jobName`
// +kubebuilder:selectablefield:JSONPath=`.spec.concurrencyKey`
// +kubebuilder:selectablefield:JSONPath=`.spec.admission.executor`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.jobName`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.status.runRef.name`,description="The run that stands for this trigger"
// +kubebuilder:printcolumn:name="Coalesced",type=integer,JSONPath=`.status.coalesced.count`,description="How many triggers this run absorbed"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Key",type=string,JSONPath=`.spec.concurrencyKey`
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.status.lease.holderIdentity`,priority=1
// +kubebuilder:printcolumn:name="Attempts",type=integer,JSONPath=`.status.attempts`,priority=1
// +kubebuilder:printcolumn:name="Error",type=string,JSONPath=`.status.error`,priority=1
type JobRun struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. If a Job executes the run, the name has at most 52 characters. The
	// operator stamps the labels batch.jobrun.dev/job-name, batch.jobrun.dev/key, batch.jobrun.dev/disposition and
	// batch.jobrun.dev/executor, and the annotation batch.jobrun.dev/triggered-by, and keeps them.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the trigger asks for.
	//
	// +required
	Spec JobRunSpec `json:"spec,omitzero"`

	// status is what is known of the run or the receipt. Its default tells kstatus that the operator has not
	// written it yet.
	//
	// +optional
	// +default={"observedGeneration": -1}
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
