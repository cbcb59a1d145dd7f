// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package health says what kstatus must read in a JobRun, and reads it with the library that Flux and Helm use.
package health

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Check returns an error unless kstatus reads in a JobRun what its outcome says.
func Check(run *v1alpha1.JobRun) error {
	object, err := Untyped(run)
	if err != nil {
		return err
	}
	got, err := status.Compute(object)
	if err != nil {
		return fmt.Errorf("kstatus of %s: %w", run.Name, err)
	}
	if want := Want(run); got.Status != want {
		return fmt.Errorf("kstatus reads %s (%s) in %s, want %s: phase %q, generation %d, status %+v",
			got.Status, got.Message, run.Name, want, run.Status.Phase, run.Generation, run.Status)
	}
	return nil
}

// Want returns what kstatus must read in a JobRun.
func Want(run *v1alpha1.JobRun) status.Status {
	switch {
	case run.DeletionTimestamp != nil:
		return status.TerminatingStatus
	case !run.HasOutcome():
		return status.InProgressStatus
	case run.Outcome() == v1alpha1.PhaseCompleted:
		return status.CurrentStatus
	default:
		return status.FailedStatus
	}
}

// Untyped returns a JobRun as a client without Go types sees it.
func Untyped(run *v1alpha1.JobRun) (*unstructured.Unstructured, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(run)
	if err != nil {
		return nil, fmt.Errorf("convert JobRun %s: %w", run.Name, err)
	}
	return &unstructured.Unstructured{Object: object}, nil
}
