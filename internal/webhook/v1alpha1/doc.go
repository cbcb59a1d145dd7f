// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 answers the API server's admission requests for JobRuns.
//
// On CREATE it says what became of the trigger and stamps that into the object,
// so that the caller's own answer carries it. Everything the API server would
// refuse later is refused here first, with nothing taken: a reservation made for
// a create that fails is repaired only after the grace period. On UPDATE it keeps
// what the operator stamped and what CEL cannot compare.
//
// It does not promise that an admitted object comes to exist: a later admission
// plugin or a lost connection may prevent that. The controller repairs it.
//
// The markers below and config/webhook/settings.yaml make config/webhook/manifests.yaml.
//
// +kubebuilder:webhookconfiguration:mutating=true,name=mutating-webhook-configuration
// +kubebuilder:webhook:name=mjobrun.batch.jobrun.dev,mutating=true,path=/mutate-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns,verbs=create,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
// +kubebuilder:webhook:name=update.batch.jobrun.dev,mutating=true,path=/mutate-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns,verbs=update,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
// +kubebuilder:webhook:name=claim.batch.jobrun.dev,mutating=true,path=/claim-batch-jobrun-dev-v1alpha1-jobrun,groups=batch.jobrun.dev,versions=v1alpha1,resources=jobruns/status,verbs=update,failurePolicy=fail,sideEffects=NoneOnDryRun,admissionReviewVersions=v1
package v1alpha1
