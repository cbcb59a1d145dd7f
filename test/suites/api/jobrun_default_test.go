// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// unwritten is the status of a JobRun that the operator has not written.
var unwritten = map[string]any{"observedGeneration": int64(-1)}

func TestFreshJobRunHasTheDefaultStatus(t *testing.T) {
	for name, sent := range map[string]string{
		"no status": "", "a status": ", status: {phase: Completed, observedGeneration: 1}", "null": ", status: null",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := create(t, "JobRun", "{spec: {jobName: a}"+sent+"}")
			wantStatus(t, "answered", run, unwritten)
			wantStatus(t, "stored", reread(t, run), unwritten)
		})
	}
}

// A client that replaces the status by its own fields makes the status one that the operator has not written.
func TestReplacedStatusIsNotObserved(t *testing.T) {
	t.Parallel()
	run := create(t, "JobRun", "spec: {jobName: a}")
	if err := patchStatus(t, run, "{phase: Pending, observedGeneration: 1}"); err != nil {
		t.Fatal(err)
	}
	run.Object["status"] = map[string]any{"phase": "Pending"}
	if err := newClient(t).Status().Update(context.Background(), run); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "stored", reread(t, run), map[string]any{"phase": "Pending", "observedGeneration": int64(-1)})
}

// Server-side apply removes the fields that an applier no longer sends. The rules see that as any other change.
func TestAppliedStatusCannotBeWithdrawn(t *testing.T) {
	t.Parallel()
	run := create(t, "JobRun", "spec: {jobName: a}")
	apply := func(status string) error {
		applied := object(t, "JobRun", "metadata: {name: "+run.GetName()+"}"+status)
		return newClient(t).Status().Apply(context.Background(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("worker"))
	}
	if err := apply("\nstatus: {phase: Leased, lease: {generation: 1, holderIdentity: w}}"); err != nil {
		t.Fatal(err)
	}
	refusal{"status.lease", "status.lease cannot be removed"}.check(t, apply(""))
}

func wantStatus(t *testing.T, what string, run *unstructured.Unstructured, want map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, run.Object["status"]); diff != "" {
		t.Errorf("%s status (-want +got):\n%s", what, diff)
	}
}

func reread(t *testing.T, run *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
	if err := newClient(t).Get(context.Background(), client.ObjectKeyFromObject(run), stored); err != nil {
		t.Fatal(err)
	}
	return stored
}
