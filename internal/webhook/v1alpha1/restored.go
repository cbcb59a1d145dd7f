// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// This file admits JobRuns that Velero restores from a backup (P14). Velero drops the status, so nobody can tell whether the run had
// ended.

// restoreOf returns the name of the restore that sends a JobRun; empty for a new trigger. Only a JobRun that was stored has a token:
// nobody writes spec.admission but the webhook. The label alone proves nothing, because callers copy labels.
func restoreOf(run *v1alpha1.JobRun) string {
	if run.Spec.Admission == nil || run.Spec.Admission.Token == "" {
		return ""
	}
	return run.Labels[v1alpha1.LabelVeleroRestore]
}

// admitRestored answers a JobRun of a backup. It is cancelled from the start, takes no key and is not completed again. Its token is
// new, so that no RunKey and no receipt takes it for the run that it was (P1).
func (h *Handler) admitRestored(ctx context.Context, req admission.Request, sent *submission, restore string) admission.Response {
	sent.name(req)
	run := sent.run
	errs := h.validate(sent)
	if run.Spec.JobName == "" { // Then there may be no spec to stamp.
		errs = append(errs, field.Required(jobNamePath, ""))
	}
	if len(errs) > 0 {
		return invalid(run.Name, errs)
	}
	token := h.newToken()
	answer := v1alpha1.Admission{
		Disposition: v1alpha1.DispositionCreated, RunName: run.Name, RunToken: token, Token: token,
		Executor: run.Executor(), Definition: run.Spec.Admission.Definition, Restore: restore,
	}
	if r := run.Spec.Represents; r != nil {
		answer.Represents = r.Count
	}
	log.FromContext(ctx).Info("Admitted a restored JobRun", "run", run.Name, "jobName", run.Spec.JobName, "restore", restore)
	patch := append(sent.stamp(answer), jsonpatch.NewOperation("add", "/spec/cancel", true))
	return admission.Patched("", patch...).WithWarnings(fmt.Sprintf(
		"jobrun %s is restored from a backup: it ends Cancelled, and does not execute again; "+
			"to execute it, trigger it again: kubectl jobrun retrigger %s -n %s", run.Name, run.Name, run.Namespace))
}
