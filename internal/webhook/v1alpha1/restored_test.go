// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// restoring returns a manifest of a JobRun as Velero restores it.
func restoring(spec string) string {
	return "metadata: {name: b, labels: {velero.io/restore-name: nightly, batch.jobrun.dev/disposition: coalesced}}\n" +
		"spec: {jobName: job, " + spec + ", admission: {disposition: Coalesced, runName: a, runToken: old-a, token: old-b, executor: Job}}\n"
}

// What Velero restores takes no key, whatever it was. It is cancelled from the start.
func TestCreateRestored(t *testing.T) {
	for name, spec := range map[string]string{
		"with a key":                 "concurrencyKey: k, coalesce: Skip",
		"with an idempotencyKey":     "idempotencyKey: i",
		"of a batch":                 "batch: {id: x, size: 3, leader: gone}",
		"that stood for several":     "concurrencyKey: k, coalesce: Skip, represents: {count: 40}",
		"that was cancelled already": "cancel: true",
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, wrappers.MakeRunKey("k").Pending("a").Obj(), wrappers.MakeKeyedRun("a").Pending().Obj())
			manifest := restoring(spec)
			response := r.create(t, manifest)
			run, _ := admitted(t, manifest, response)
			want := &v1alpha1.Admission{
				Disposition: v1alpha1.DispositionCreated, RunName: "b", RunToken: "token-b", Token: "token-b",
				Executor: v1alpha1.ExecutorJob, Restore: "nightly",
			}
			if run.Spec.Represents != nil {
				want.Represents = 40
			}
			if diff := cmp.Diff(want, run.Spec.Admission); diff != "" {
				t.Errorf("admission (-want +got):\n%s", diff)
			}
			if !run.CancelRequested() || run.Labels[v1alpha1.LabelDisposition] != "created" || len(response.Warnings) != 1 {
				t.Errorf("cancel %v, labels %v, warnings %q", run.Spec.Cancel, run.Labels, response.Warnings)
			}
			if writes := r.store.Writes(); len(writes) > 0 {
				t.Errorf("wrote %v", writes)
			}
		})
	}
}

// Callers copy labels, and a manifest of a stored JobRun has spec.admission. Either alone is a new trigger.
func TestCreateLooksRestored(t *testing.T) {
	const stored = "admission: {disposition: Created, runName: b, runToken: t, token: t}"
	for name, manifest := range map[string]string{
		"the label alone":       "metadata: {name: b, labels: {velero.io/restore-name: nightly}}\nspec: {jobName: job}\n",
		"an empty label":        "metadata: {name: b, labels: {velero.io/restore-name: ''}}\nspec: {jobName: job, " + stored + "}\n",
		"spec.admission alone":  "metadata: {name: b}\nspec: {jobName: job, " + stored + "}\n",
		"a forged restore":      "metadata: {name: b}\nspec: {jobName: job, admission: {restore: nightly}}\n",
		"without its own token": "metadata: {name: b, labels: {velero.io/restore-name: nightly}}\nspec: {jobName: job, admission: {runToken: t}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			run, _ := admitted(t, manifest, newReplica(t).create(t, manifest))
			if run.WasRestored() || run.CancelRequested() {
				t.Errorf("admission %+v, cancel %v; want a new trigger", run.Spec.Admission, run.Spec.Cancel)
			}
		})
	}
}

func TestCreateRestoredBadInput(t *testing.T) {
	for field, manifest := range map[string]string{
		"spec.input":   restoring("input: " + nested(65)),
		"spec.jobName": "metadata: {name: b, labels: {velero.io/restore-name: nightly}}\nspec: {admission: {token: old}}\n",
	} {
		response := newReplica(t).create(t, manifest)
		if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Causes[0].Field != field {
			t.Errorf("allowed %t, %+v; want a 422 about %s", response.Allowed, response.Result, field)
		}
	}
}
