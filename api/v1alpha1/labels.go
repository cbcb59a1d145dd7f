// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels that the webhook stamps on JobRuns and the operator on Jobs and Pods.
const (
	// LabelJobName is spec.jobName.
	LabelJobName = "batch.jobrun.dev/job-name"
	// LabelKey is the name of the RunKey of the run's concurrencyKey.
	LabelKey = "batch.jobrun.dev/key"
	// LabelDisposition is created, coalesced or idempotent. Only JobRuns have it.
	LabelDisposition = "batch.jobrun.dev/disposition"
	// LabelExecutor is job or worker: what executes the run. Only JobRuns have it.
	LabelExecutor = "batch.jobrun.dev/executor"
	// LabelRun is the name of the run. Only Jobs and Pods have it.
	LabelRun = "batch.jobrun.dev/run"
)

// StampedLabels are the labels of JobRuns that the webhook writes and keeps.
var StampedLabels = []string{LabelJobName, LabelKey, LabelDisposition, LabelExecutor}

// Of the JobRun of a schedule. The operator sets both.
const (
	// LabelSchedule is the name of the schedule that triggered the JobRun. The webhook removes it from the triggers of others.
	LabelSchedule = "batch.jobrun.dev/schedule"
	// AnnotationScheduledTime is the time of the schedule, in RFC 3339.
	AnnotationScheduledTime = "batch.jobrun.dev/scheduled-time"
)

// LabelReceiver is on the JobRun of a receiver, and is the receiver's name. The gateway sets it, and the webhook removes it from
// the triggers of others. On a Secret it is ReceiverSecret: the gateway may read the Secret for receivers.
const LabelReceiver = "batch.jobrun.dev/receiver"

// ReceiverSecret is the value of LabelReceiver on a Secret that receivers may use.
const ReceiverSecret = "true"

// LabelVeleroRestore is the label that Velero sets on each object that it restores: the name of the restore.
const LabelVeleroRestore = "velero.io/restore-name"

// LabelVeleroBackup is the other label that Velero sets then: the name of the backup.
const LabelVeleroBackup = "velero.io/backup-name"

// RestoredLabels are the labels that say of an object that it was restored, and from what. They do not hold for what is made of it.
var RestoredLabels = []string{LabelVeleroRestore, LabelVeleroBackup}

// AnnotationTriggeredBy is the name of the user that created the JobRun. The webhook writes it, whatever the caller sends, and
// cuts it to MaxTriggeredByBytes. Only the gateway may name another user, the one that it triggers for. For a receiver, that
// is its ReceiverUser.
const AnnotationTriggeredBy = "batch.jobrun.dev/triggered-by"

// StampedAnnotations are the annotations of JobRuns that the webhook writes and keeps.
var StampedAnnotations = []string{AnnotationTriggeredBy}

// VerbTrigger is the verb on jobdefinitions that a trigger without a template needs. The name of the resource is spec.jobName,
// whether or not such a definition exists.
const VerbTrigger = "trigger"

// Annotations that the operator puts on Jobs and Pods.
const (
	// AnnotationToken is the token of the run that the Job executes.
	AnnotationToken = "batch.jobrun.dev/token"
	// AnnotationGeneration is the generation of the lease that the Job executes under.
	AnnotationGeneration = "batch.jobrun.dev/generation"
	// AnnotationJobTTL is the ttlSecondsAfterFinished of the run's template. Only Jobs have it. The operator reads it, and
	// not the Job controller, because a Job must not go before the outcome of its run is stored.
	AnnotationJobTTL = "batch.jobrun.dev/ttl-seconds-after-finished"
)

// AnnotationDefinition is on a Job that was made from the template of a JobDefinition. It is a DefinitionReference, as
// JSON.
const AnnotationDefinition = "batch.jobrun.dev/definition"

// AnnotationContainer is on such a Job, too. It is the name of the container whose termination message is the output.
const AnnotationContainer = "batch.jobrun.dev/container"

// The Lease of each replica of the operator has these.
const (
	// LabelMember says how the replica gets keys to reconcile: sharing or electing.
	LabelMember = "batch.jobrun.dev/member"
	// AnnotationProtocolLevel is a number. It says what the replica can read and write in RunKeys and statuses.
	AnnotationProtocolLevel = "batch.jobrun.dev/protocol-level"
)

// AnnotationTrigger is set on JobRuns by the Go client. Its value identifies one attempt of a trigger,
// however often the create is sent. The client uses it to recognise a create whose answer was lost.
const AnnotationTrigger = "batch.jobrun.dev/trigger"

// Environment variables of every container of a run's Job.
const (
	// EnvName is the name of the JobRun.
	EnvName = "JOBRUN_NAME"
	// EnvNamespace is the namespace of the JobRun.
	EnvNamespace = "JOBRUN_NAMESPACE"
	// EnvJobName is spec.jobName.
	EnvJobName = "JOBRUN_JOB_NAME"
	// EnvInput is spec.input as JSON, or null without an input.
	EnvInput = "JOBRUN_INPUT"
	// EnvInputPrefix begins the names of the variables of the input: JOBRUN_INPUT_<NAME> is the top-level field <name> of
	// spec.input, if it is a text, a number or a boolean. The name is in upper case, with '_' for each '-' and '.'. A
	// field is left out if its name gives no legal variable, or the same as another field.
	EnvInputPrefix = "JOBRUN_INPUT_"
	// EnvConcurrencyKey is spec.concurrencyKey.
	EnvConcurrencyKey = "JOBRUN_CONCURRENCY_KEY"
	// EnvGeneration is the generation of the lease. It is the fencing token among the holders of one run.
	EnvGeneration = "JOBRUN_GENERATION"
	// EnvKeyVersion is status.lease.keyVersion. It is the fencing token among the holders of one key, across
	// its runs. It is empty without a key.
	EnvKeyVersion = "JOBRUN_KEY_VERSION"
)

// Limits that the schema cannot express, or that code shares with it.
const (
	// MaxInputBytes bounds spec.input.
	MaxInputBytes = 64 << 10
	// MaxLevels bounds the levels of arrays and objects in spec.input and status.output. Decoders refuse 10,000 levels,
	// so one JobRun that has so many hides all JobRuns of a list from its clients.
	MaxLevels = 64
	// MaxTriggeredByBytes bounds the annotation AnnotationTriggeredBy.
	MaxTriggeredByBytes = 1 << 10
	// MaxTemplateRunName bounds the name of a run with a template.
	MaxTemplateRunName = 52
	// MaxRecent bounds status.coalesced.recent.
	MaxRecent = 32
	// MaxCount bounds status.coalesced.count, and MaxRecordedAttempts status.attempts.
	MaxCount            = 1<<53 - 1
	MaxRecordedAttempts = 1000000
	// MaxConditions bounds status.conditions.
	MaxConditions = 16
	// MaxRecentInputBytes bounds the input of one entry of status.coalesced.recent.
	MaxRecentInputBytes = 1 << 10
	// MaxMoreInputs bounds the further inputs of one entry of status.coalesced.recent, and MaxMoreInputsBytes all of their
	// texts together.
	MaxMoreInputs      = 8
	MaxMoreInputsBytes = 1 << 10
	// MaxRepresented bounds spec.represents.count.
	MaxRepresented = 100000
	// MaxRepresentedRecent bounds the entries of spec.represents.recent, and MaxRepresentedRecentBytes its JSON.
	MaxRepresentedRecent      = 32
	MaxRepresentedRecentBytes = 32 << 10
	// RepresentativeSeconds is how long after its creation the operator keeps a JobRun that stands for several triggers. A
	// create whose answer was lost may be sent again under the same name for 60 seconds. While the JobRun exists, it is not
	// stored and counted again.
	RepresentativeSeconds = 120
	// MaxRecentLabels bounds the labels of one entry of status.coalesced.recent.
	MaxRecentLabels = 16
	// MaxOutputBytes bounds the termination message that becomes status.output.
	MaxOutputBytes = 4 << 10
	// MaxWorkerOutputBytes bounds status.output as an external worker writes it.
	MaxWorkerOutputBytes = 256 << 10
	// MaxRememberedOutputBytes bounds the output that an idempotency key keeps after its run is deleted.
	MaxRememberedOutputBytes = 1 << 10
	// MaxErrorBytes bounds status.error.
	MaxErrorBytes = 1 << 10
	// MaxFailureReasonBytes bounds status.failure.reason, and MaxFailureMessageBytes status.failure.message.
	MaxFailureReasonBytes  = 256
	MaxFailureMessageBytes = 2 << 10
	// BatchTimeoutSeconds is how long it may take until all members of a batch exist.
	BatchTimeoutSeconds = 60
	// ReceiverIdempotencyTTLSeconds is how long the idempotencyKey of a receiver's run is remembered after the end of the run
	// if the definition does not set it: a day.
	ReceiverIdempotencyTTLSeconds = 86400
	// DefaultLeaseDurationSeconds is how long an external worker's lease lasts if the spec does not set it.
	DefaultLeaseDurationSeconds = 30
	// DefaultMaxAttempts is how many leases may expire before a run fails if the spec does not set it.
	DefaultMaxAttempts = 3
)
