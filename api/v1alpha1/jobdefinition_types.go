// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OverridableField is a field of a JobRun's spec that a trigger may set to another value than its definition.
//
// +kubebuilder:validation:Enum=concurrencyKey;coalesce;idempotencyTTLSeconds;idempotencyRelease;leaseDurationSeconds;activeDeadlineSeconds;maxAttempts;onLeaseExpired;onJobLost;ttlSecondsAfterFinished
type OverridableField string

// The fields that a definition may leave to the trigger.
const (
	OverridableConcurrencyKey          OverridableField = "concurrencyKey"
	OverridableCoalesce                OverridableField = "coalesce"
	OverridableIdempotencyTTLSeconds   OverridableField = "idempotencyTTLSeconds"
	OverridableIdempotencyRelease      OverridableField = "idempotencyRelease"
	OverridableLeaseDurationSeconds    OverridableField = "leaseDurationSeconds"
	OverridableActiveDeadlineSeconds   OverridableField = "activeDeadlineSeconds"
	OverridableMaxAttempts             OverridableField = "maxAttempts"
	OverridableOnLeaseExpired          OverridableField = "onLeaseExpired"
	OverridableOnJobLost               OverridableField = "onJobLost"
	OverridableTTLSecondsAfterFinished OverridableField = "ttlSecondsAfterFinished"
)

// InputSchema describes the inputs that a job accepts.
type InputSchema struct {
	// openAPIV3Schema is a structural schema, as in a CustomResourceDefinition. Its defaults complete the input of
	// each trigger. An input that does not fit it is refused, and so is a field that it does not name. At most
	// 64 KiB. x-kubernetes-validations are not supported.
	//
	// +required
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	OpenAPIV3Schema *apiextensionsv1.JSON `json:"openAPIV3Schema,omitempty"`
}

// JobRunDefaults are the values that a trigger gets for the fields that it does not set. Each field means the same
// as the field of a JobRun's spec with that name.
//
// +kubebuilder:validation:MinProperties=1
type JobRunDefaults struct {
	// concurrencyKey is the key of each run: for example, one key for all runs of the job, so that they never
	// overlap. A definition with a concurrencyKeyExpression must not have it.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ConcurrencyKey string `json:"concurrencyKey,omitempty"`

	// coalesce decides what becomes of a trigger when a run already waits for its key. It has no effect on a trigger
	// without a concurrencyKey.
	//
	// +optional
	Coalesce CoalescePolicy `json:"coalesce,omitempty"`

	// idempotencyTTLSeconds is how long an idempotencyKey is remembered after the run has ended, 1 to 604800 seconds.
	// It has no effect on a trigger without an idempotencyKey.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	IdempotencyTTLSeconds int32 `json:"idempotencyTTLSeconds,omitempty"`

	// idempotencyRelease decides whether a run that fails or is cancelled releases its idempotencyKey. It has no effect on
	// a trigger without an idempotencyKey.
	//
	// +optional
	IdempotencyRelease IdempotencyReleasePolicy `json:"idempotencyRelease,omitempty"`

	// leaseDurationSeconds is how long a lease lasts without renewal, 1 to 86400 seconds.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	LeaseDurationSeconds int32 `json:"leaseDurationSeconds,omitempty"`

	// activeDeadlineSeconds is how long a lease may last, at least 1 second.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`

	// maxAttempts is how many leases of a run may expire before it fails, 1 to 1000.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxAttempts int32 `json:"maxAttempts,omitempty"`

	// onLeaseExpired decides what becomes of a run whose lease expired while another run waits for its key.
	//
	// +optional
	OnLeaseExpired LeaseExpiredPolicy `json:"onLeaseExpired,omitempty"`

	// onJobLost decides what becomes of a run whose Job is gone before the operator knew how it ended.
	//
	// +optional
	OnJobLost JobLostPolicy `json:"onJobLost,omitempty"`

	// ttlSecondsAfterFinished is how many seconds a JobRun is kept after it has an outcome. 0 deletes it at once.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// JobSchedule triggers a job at times.
type JobSchedule struct {
	// name identifies the schedule in its definition. It is a DNS-1123 label of at most 52 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	Name string `json:"name,omitempty"`

	// schedule is when to trigger the job, as in a CronJob: five fields for minute, hour, day of the month, month and
	// day of the week, or a macro such as @daily. A time zone must not be in it: use timeZone. A schedule that never fires is refused.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Schedule string `json:"schedule,omitempty"`

	// timeZone is the name of the time zone of the schedule, for example Europe/Berlin. If it is not set, the schedule
	// is in UTC. When clocks go forward, a time that does not exist is skipped. When they go back, a time that exists
	// twice fires once, unless the schedule fires each hour or more often.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`

	// input is the input of the runs, at most 64 KiB. It must fit the inputSchema.
	//
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Input *apiextensionsv1.JSON `json:"input,omitempty"`

	// suspend stops this schedule. Times that pass meanwhile are not caught up, except the last one within
	// startingDeadlineSeconds.
	//
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// startingDeadlineSeconds is how late a trigger may be, at least 1 second, for example because the operator was not
	// running. Of several times that were missed, only the last one is caught up. If it is not set, that time may be
	// any time ago.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	StartingDeadlineSeconds int64 `json:"startingDeadlineSeconds,omitempty"`
}

// ReceiverType says who sends the deliveries of a receiver, and so how they are signed.
//
// +kubebuilder:validation:Enum=GitHub;GitLab;StandardWebhooks;HMAC
type ReceiverType string

const (
	// ReceiverGitHub is a webhook of GitHub. The header X-Hub-Signature-256 signs the body, X-GitHub-Event names the event, and
	// X-GitHub-Delivery identifies the delivery.
	ReceiverGitHub ReceiverType = "GitHub"
	// ReceiverGitLab is a webhook of GitLab. Either the header webhook-signature signs id, time and body with the signing token, or
	// X-Gitlab-Token has the secret token. X-Gitlab-Event names the event. The first of webhook-id, Idempotency-Key and
	// X-Gitlab-Event-UUID that is there identifies the delivery.
	ReceiverGitLab ReceiverType = "GitLab"
	// ReceiverStandardWebhooks is a webhook as standardwebhooks.com specifies it. The header webhook-signature signs webhook-id,
	// webhook-timestamp and the body. The field type of the body names the event, and webhook-id identifies the delivery.
	ReceiverStandardWebhooks ReceiverType = "StandardWebhooks"
	// ReceiverHMAC is any other sender. The header X-Signature-256, or else X-Hub-Signature-256, has the HMAC with SHA-256 of
	// the body in hexadecimal digits, with or without sha256= in front.
	ReceiverHMAC ReceiverType = "HMAC"
)

// ReceiverSecretReference is a key of a Secret in the namespace of the definition.
type ReceiverSecretReference struct {
	// name is the name of the Secret. It must have the label batch.jobrun.dev/receiver: "true".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key is the key in the data of the Secret. Its value is the secret that the sender has, or two of them on a line each,
	// while one replaces the other.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// JobReceiver lets another system trigger the job by a signed HTTP request, a delivery. The gateway takes it at
// /v1/hooks/{namespace}/{definition}/{receiver}.
type JobReceiver struct {
	// name identifies the receiver in its definition, and is the last part of its address. It is a DNS-1123 label of at
	// most 63 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// type is who sends the deliveries: GitHub, GitLab, a sender that follows StandardWebhooks, or HMAC for any other one that
	// signs the body.
	//
	// +required
	Type ReceiverType `json:"type,omitempty"`

	// secretRef names the secret that the sender signs with. Without it, and without its label, each delivery is refused.
	//
	// +required
	SecretRef ReceiverSecretReference `json:"secretRef,omitzero"`

	// events are the events that trigger the job, as the sender names them: push for GitHub, Push Hook for GitLab. Others
	// are answered with 200 and ignored. If it is not set, all trigger the job, but for the ping of GitHub. The type HMAC has
	// no events.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Events []string `json:"events,omitempty"`

	// filterExpression is a CEL expression that says whether a delivery triggers the job, for example
	// body.ref == "refs/heads/main". It can use body, the JSON of the delivery, and headers, the headers of the request with
	// their names in lower case. A delivery for which it is false is answered with 200 and ignored. One for which it fails
	// is refused.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	FilterExpression string `json:"filterExpression,omitempty"`

	// inputExpression is a CEL expression that gives the input of the run, at most 64 KiB, for example
	// {"repo": body.repository.full_name}. It can use what filterExpression can. If it is not set, the body is the input.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	InputExpression string `json:"inputExpression,omitempty"`

	// idempotencyHeader is the header that identifies a delivery, instead of the one of the type. A delivery that was sent
	// twice then executes once. A delivery without the header is refused.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	IdempotencyHeader string `json:"idempotencyHeader,omitempty"`
}

// JobDefinitionSpec says how a job runs. An empty one is a job whose runs external workers execute.
//
// +kubebuilder:validation:MinProperties=0
type JobDefinitionSpec struct {
	// description is one line of text for people.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`

	// suspend keeps runs of this job from starting. Triggers are answered as usual, and wait. The claims of workers are
	// refused. Runs that execute go on. Schedules trigger as usual: suspend a schedule by its own field.
	//
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// inputSchema describes the inputs that the job accepts. If it is not set, a trigger may have any input.
	//
	// +optional
	InputSchema *InputSchema `json:"inputSchema,omitempty"`

	// concurrencyKeyExpression is a CEL expression that gives the concurrencyKey of each trigger, for example
	// "org_" + input.org. It can use input, with the types of inputSchema, and labels, the labels of the trigger. A
	// trigger for which it fails, or gives an empty text or one that is no valid key, is refused.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ConcurrencyKeyExpression string `json:"concurrencyKeyExpression,omitempty"`

	// idempotencyKeyExpression is a CEL expression that gives the idempotencyKey of each trigger that has none of its
	// own. It can use what concurrencyKeyExpression can.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	IdempotencyKeyExpression string `json:"idempotencyKeyExpression,omitempty"`

	// defaults are the values of the fields that a trigger does not set.
	//
	// +optional
	Defaults *JobRunDefaults `json:"defaults,omitempty"`

	// overridable names the fields that a trigger may set to another value than this definition. A trigger may always set
	// input, labels and idempotencyKey. If neither the definition nor this list says anything about a field, a trigger
	// must not set it, except to the value that it has by default.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Overridable []OverridableField `json:"overridable,omitempty"`

	// template describes the Job that executes each run, as spec.template of a JobRun. It is read when a run starts, so
	// a run that waits starts with what is defined then. If it is not set, external workers execute the runs. A
	// caller that writes a definition with a template needs the right to create Jobs.
	//
	// +optional
	Template *batchv1.JobTemplateSpec `json:"template,omitempty"`

	// schedules trigger the job at times. They are triggers like any other, so they never overlap where the key forbids
	// it.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Schedules []JobSchedule `json:"schedules,omitempty"`

	// receivers let other systems trigger the job by signed HTTP requests, if the gateway takes them. A caller that adds or
	// changes one needs the right to trigger the job. A run of a receiver has idempotencyRelease OnFailure and an
	// idempotencyTTLSeconds of a day, unless defaults say otherwise.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Receivers []JobReceiver `json:"receivers,omitempty"`

	// successfulRunsHistoryLimit is how many completed runs are kept, 0 to 10000, by default 100. The receipts of a
	// run go with it. A run goes earlier if its ttlSecondsAfterFinished is over.
	//
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	SuccessfulRunsHistoryLimit *int32 `json:"successfulRunsHistoryLimit,omitempty"`

	// failedRunsHistoryLimit is how many failed and cancelled runs are kept, 0 to 10000, by default 100.
	//
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	FailedRunsHistoryLimit *int32 `json:"failedRunsHistoryLimit,omitempty"`
}

// JobScheduleStatus is what is known of a schedule.
type JobScheduleStatus struct {
	// name is the name of the schedule.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	Name string `json:"name,omitempty"`

	// lastScheduleTime is the last time of the schedule that was handled. lastResult says what became of it.
	//
	// +optional
	LastScheduleTime *metav1.Time `json:"lastScheduleTime,omitempty"`

	// nextScheduleTime is when the schedule fires next. A suspended schedule does not have it.
	//
	// +optional
	NextScheduleTime *metav1.Time `json:"nextScheduleTime,omitempty"`

	// lastRunName is the name of the JobRun of lastScheduleTime.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	LastRunName string `json:"lastRunName,omitempty"`

	// lastResult is what became of the trigger of lastScheduleTime: Created, Coalesced or Idempotent, or else why it was
	// refused.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	LastResult string `json:"lastResult,omitempty"`
}

// Condition types of a JobDefinition, and their reasons.
const (
	// ConditionDefinitionReady is True if runs of the job can start. Otherwise its message says what is wrong.
	ConditionDefinitionReady = "Ready"

	// ReasonDefinitionValid means that schema, expressions and schedules are valid.
	ReasonDefinitionValid = "Valid"
	// ReasonInvalidInputSchema means that inputSchema is not a structural schema.
	ReasonInvalidInputSchema = "InvalidInputSchema"
	// ReasonInvalidExpression means that an expression does not compile, gives another type than it must, or costs too much.
	ReasonInvalidExpression = "InvalidExpression"
	// ReasonInvalidSchedule means that a schedule cannot be parsed, never fires, or has an input that does not fit.
	ReasonInvalidSchedule = "InvalidSchedule"
	// ReasonInvalidDefinition means that another field is wrong.
	ReasonInvalidDefinition = "InvalidDefinition"
)

// JobDefinitionStatus is what is known of a job. Its counters are at most 5 seconds old, and a JobRun counts once it has
// a phase.
//
// +kubebuilder:validation:MinProperties=0
type JobDefinitionStatus struct {
	// waiting is how many runs of the job wait.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Waiting *int32 `json:"waiting,omitempty"`

	// executing is how many runs of the job execute.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Executing *int32 `json:"executing,omitempty"`

	// lastRunTime is when the run that ended last got its outcome.
	//
	// +optional
	LastRunTime *metav1.Time `json:"lastRunTime,omitempty"`

	// lastOutcome is how that run ended: Completed, Failed or Cancelled.
	//
	// +optional
	LastOutcome Phase `json:"lastOutcome,omitempty"`

	// schedules has what is known of each schedule.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Schedules []JobScheduleStatus `json:"schedules,omitempty"`

	// observedGeneration is the metadata.generation that this status describes.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions has Ready, whose message says what is wrong with schema, expressions or schedules. While it is not
	// True, triggers are refused and runs that wait do not start.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// JobDefinition says once how a job runs. A JobRun in the same namespace whose spec.jobName is the name of the
// definition is completed by it when it is created, so a trigger needs nothing but a name and an input.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=jd,categories=all
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.waiting`,description="How many runs wait"
// +kubebuilder:printcolumn:name="Executing",type=integer,JSONPath=`.status.executing`,description="How many runs execute"
// +kubebuilder:printcolumn:name="Last",type=date,JSONPath=`.status.lastRunTime`,description="How long ago the last run ended"
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,priority=1
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.lastOutcome`,priority=1
// +kubebuilder:printcolumn:name="Description",type=string,JSONPath=`.spec.description`,priority=1
type JobDefinition struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata. The name is the jobName of the runs: a DNS-1123 label of at most 63
	// characters.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says how the job runs. Without it, external workers execute the runs.
	//
	// +optional
	Spec JobDefinitionSpec `json:"spec,omitzero"`

	// status is what is known of the job.
	//
	// +optional
	Status JobDefinitionStatus `json:"status,omitzero"`
}

// JobDefinitionList is a list of JobDefinitions.
//
// +kubebuilder:object:root=true
type JobDefinitionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []JobDefinition `json:"items"`
}
