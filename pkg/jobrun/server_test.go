// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// server is an API server with helpers for the tests of this package.
type server struct{ *apiserver.Server }

func newServer() *server { return &server{apiserver.New()} }

func (s *server) client() *Client { return New(s, "default") }

func (s *server) creates() int { return s.Calls()["create jobruns"] }
func (s *server) lists() int   { return s.Calls()["list jobruns"] }
func (s *server) watches() int { return s.Calls()["watch jobruns"] }

func makeRun(name string, status v1alpha1.JobRunStatus) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{Status: status}
	run.Name, run.Namespace = name, "default"
	run.Spec.JobName, run.Spec.ConcurrencyKey = "sync", "k"
	run.Spec.Admission = apiserver.Created(name)
	return run
}

// receiptOf returns a receipt that is bound to the run.
func receiptOf(run *v1alpha1.JobRun, name string) *v1alpha1.JobRun {
	receipt := makeRun(name, v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCoalesced, RunRef: refTo(run)})
	receipt.Spec.Admission.Disposition = v1alpha1.DispositionCoalesced
	receipt.Spec.Admission.RunName = run.Name
	return receipt
}

func refTo(run *v1alpha1.JobRun) *v1alpha1.ObjectReference {
	return &v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
