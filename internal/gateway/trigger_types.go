// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// TriggerRequest is the body of a trigger: fields of JobRunSpec, and labels. The path has the job.
type TriggerRequest struct {
	Input                   *apiextensionsv1.JSON             `json:"input,omitempty" crd:"spec.input"`
	ConcurrencyKey          string                            `json:"concurrencyKey,omitempty" crd:"spec.concurrencyKey"`
	Coalesce                v1alpha1.CoalescePolicy           `json:"coalesce,omitempty" crd:"spec.coalesce"`
	IdempotencyKey          string                            `json:"idempotencyKey,omitempty" crd:"spec.idempotencyKey"`
	IdempotencyTTLSeconds   int32                             `json:"idempotencyTTLSeconds,omitempty" crd:"spec.idempotencyTTLSeconds"`
	IdempotencyRelease      v1alpha1.IdempotencyReleasePolicy `json:"idempotencyRelease,omitempty" crd:"spec.idempotencyRelease"`
	LeaseDurationSeconds    int32                             `json:"leaseDurationSeconds,omitempty" crd:"spec.leaseDurationSeconds"`
	ActiveDeadlineSeconds   int64                             `json:"activeDeadlineSeconds,omitempty" crd:"spec.activeDeadlineSeconds"`
	MaxAttempts             int32                             `json:"maxAttempts,omitempty" crd:"spec.maxAttempts"`
	OnLeaseExpired          v1alpha1.LeaseExpiredPolicy       `json:"onLeaseExpired,omitempty" crd:"spec.onLeaseExpired"`
	OnJobLost               v1alpha1.JobLostPolicy            `json:"onJobLost,omitempty" crd:"spec.onJobLost"`
	TTLSecondsAfterFinished *int32                            `json:"ttlSecondsAfterFinished,omitempty" crd:"spec.ttlSecondsAfterFinished"`

	Labels map[string]string `json:"labels,omitempty" doc:"Labels of the JobRun, as Kubernetes has them."`
}

// spec returns the spec of the trigger's JobRun.
func (t *TriggerRequest) spec(job string) v1alpha1.JobRunSpec {
	return v1alpha1.JobRunSpec{
		JobName:                 job,
		Input:                   t.Input,
		ConcurrencyKey:          t.ConcurrencyKey,
		Coalesce:                t.Coalesce,
		IdempotencyKey:          t.IdempotencyKey,
		IdempotencyTTLSeconds:   t.IdempotencyTTLSeconds,
		IdempotencyRelease:      t.IdempotencyRelease,
		LeaseDurationSeconds:    t.LeaseDurationSeconds,
		ActiveDeadlineSeconds:   t.ActiveDeadlineSeconds,
		MaxAttempts:             t.MaxAttempts,
		OnLeaseExpired:          t.OnLeaseExpired,
		OnJobLost:               t.OnJobLost,
		TTLSecondsAfterFinished: t.TTLSecondsAfterFinished,
	}
}

// TriggerAnswer is what became of a trigger.
type TriggerAnswer struct {
	Disposition v1alpha1.Disposition        `json:"disposition,omitempty" crd:"spec.admission.disposition" doc:"Created: the trigger is a run. Coalesced: a waiting run absorbed it. Idempotent: it was delivered before. Missing if the operator's webhook was bypassed: the operator decides later."`
	Run         string                      `json:"run,omitempty" doc:"The name of the run that stands for the trigger. It is that of the trigger itself if Created."`
	Trigger     string                      `json:"trigger" doc:"The name of the trigger's JobRun, a run or a receipt. It may stand for other triggers of the same caller, too: see its spec.represents."`
	Phase       v1alpha1.Phase              `json:"phase,omitempty" crd:"status.phase" doc:"The phase of the run that stands for the trigger, as far as it is known: Completed, Failed or Cancelled if that run has ended. Missing right after the trigger was stored."`
	KeyVersion  string                      `json:"keyVersion,omitempty" doc:"The version of the key that showed the run waiting. Only Coalesced triggers have it."`
	Coalesced   *v1alpha1.CoalescedTriggers `json:"coalesced,omitempty" crd:"status.coalesced" doc:"What the run has absorbed, if the trigger is a run, as far as it is known."`
	Output      *apiextensionsv1.JSON       `json:"output,omitempty" crd:"status.output" doc:"The output of the run: any JSON value."`
	Error       string                      `json:"error,omitempty" doc:"Why the run failed or was cancelled, or why it does not get on."`
	Warnings    []string                    `json:"warnings,omitempty" doc:"Warnings for the caller, for example that the trigger was absorbed."`
}
