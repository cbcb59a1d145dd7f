// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 answers the API server's admission requests for JobRuns and JobDefinitions, and for the Jobs
// of runs.
//
// On CREATE the webhook decides the disposition of the trigger and stamps it into the object, so the caller reads it in
// the answer. Before the webhook reserves a key, it refuses what the API server would refuse later. Otherwise the key
// would stay reserved for the grace period. On UPDATE the webhook restores its stamps, and keeps the fields immutable
// that CEL cannot compare. On an UPDATE of the status it grants the claims of external workers, and bounds their outputs.
//
// An admitted object may still not come to exist, because of a later admission plugin or a lost connection. The
// controller repairs that.
//
// If the job has a JobDefinition, the webhook completes the trigger by it on CREATE, before it reserves a key. On UPDATE it restores
// what completed the trigger, and never completes it again. Another webhook refuses a JobDefinition by which no trigger could be
// completed, and a template, a schedule or a receiver of a user without the right to it.
//
// Another webhook, the fence, answers the creates of the Jobs of runs. It lets a Job come to exist only while its run is
// leased.
//
// The markers below, config/webhook/settings.yaml, definition_settings.yaml and fence_settings.yaml make config/webhook/manifests.yaml.
//
// +kubebuilder:webhookconfiguration:mutating=true,name=mutating-webhook-configuration
// +kubebuilder:webhook:name=mjobrun.batch.jobrun.dev,mutating=true,path=/mutate-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns,verbs=create,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
// +kubebuilder:webhook:name=update.batch.jobrun.dev,mutating=true,path=/mutate-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns,verbs=update,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
// +kubebuilder:webhook:name=claim.batch.jobrun.dev,mutating=true,path=/claim-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns/status,verbs=update,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
// +kubebuilder:webhook:name=output.batch.jobrun.dev,mutating=true,path=/output-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns/status,verbs=update,failurePolicy=fail,sideEffects=None,admissionReviewVersions=v1
// +kubebuilder:webhookconfiguration:mutating=false,name=validating-webhook-configuration
// +kubebuilder:webhook:name=definition.batch.jobrun.dev,mutating=false,path=/validate-batch-jobrun-dev-v1alpha1-jobdefinition,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobdefinitions,verbs=create;update,failurePolicy=fail,sideEffects=None,admissionReviewVersions=v1
// +kubebuilder:webhook:name=fence.batch.jobrun.dev,mutating=false,path=/fence-batch-v1-job,groups=batch,versions=v1,resources=jobs,verbs=create,failurePolicy=fail,sideEffects=None,admissionReviewVersions=v1
package v1alpha1
