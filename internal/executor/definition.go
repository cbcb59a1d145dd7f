// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"fmt"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// heldBack begins the status.error of a run that its definition keeps from starting. By this text the operator knows its
// own message.
const heldBack = "held back: "

// IsDefined reports whether a definition has completed the trigger of a run. Only then it may hold the run back: a run that
// was triggered before its job was defined starts as it would without.
func IsDefined(run *v1alpha1.JobRun) bool {
	return run.NeedsDefinition() || (run.Spec.Admission != nil && run.Spec.Admission.Definition != nil)
}

// HoldsBack returns one line that says why a run must not start now; empty if it may. definition is the one with the name of
// the run's job, as it is now; nil if there is none.
func HoldsBack(definition *v1alpha1.JobDefinition, run *v1alpha1.JobRun) string {
	if !IsDefined(run) {
		return ""
	}
	why := ""
	if run.Spec.Template == nil { // A template of its own needs nothing of the definition.
		why = definitionProblem(definition, run.Executor())
	}
	switch {
	case why != "":
	case definition == nil:
		return ""
	case definition.IsSuspended():
		why = "is suspended"
	default:
		return ""
	}
	return heldBack + "JobDefinition " + run.Spec.JobName + " " + why
}

// IsHeldBack reports whether a text is one that HoldsBack returned.
func IsHeldBack(text string) bool { return strings.HasPrefix(text, heldBack) }

// TemplateProblem returns one line that says why the Job of a run cannot be made from a definition; empty if it can.
func TemplateProblem(definition *v1alpha1.JobDefinition, run *v1alpha1.JobRun) string {
	if why := definitionProblem(definition, v1alpha1.ExecutorJob); why != "" {
		return "JobDefinition " + run.Spec.JobName + " " + why
	}
	return ""
}

// definitionProblem returns what is wrong with a definition for a run with an executor.
func definitionProblem(definition *v1alpha1.JobDefinition, executor v1alpha1.Executor) string {
	switch {
	case definition == nil, definition.DeletionTimestamp != nil:
		return "does not exist"
	case definition.NotReady() != nil:
		return "is not ready: " + definition.NotReady().Message
	case definition.Executor() != executor:
		return fmt.Sprintf("now has the executor %s, and this run needs %s", definition.Executor(), executor)
	default:
		return ""
	}
}
