// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// hinted is an error with a hint of the command.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// hintFor returns what the user can do about an error, or "".
func hintFor(command string, err error) string {
	var usage *usageError
	var own *hinted
	var unanswered *jobrun.UnansweredError
	var forbidden *jobrun.ForbiddenError
	switch {
	case errors.As(err, &own):
		return own.hint
	case errors.As(err, &usage):
		return fmt.Sprintf("See '%s --help' for usage.", command)
	case errors.As(err, &unanswered):
		return fmt.Sprintf("See with `kubectl get jobrun %s` whether it was accepted before you trigger again.", unanswered.Name)
	case errors.Is(err, jobrun.ErrWebhookDown):
		return "Nothing was created or changed. Try again later: `kubectl -n jobrun-system get pods` shows whether JobRun is up."
	case errors.As(err, &forbidden) && forbidden.Verb == "trigger":
		return fmt.Sprintf("Nothing was created. `kubectl auth can-i trigger jobdefinitions.%s/%s` tells when you may.",
			v1alpha1.GroupVersion.Group, cmp.Or(forbidden.Name, "JOB"))
	case isReserved(err):
		return "Nothing was created. Trigger again later, or with a longer --timeout."
	case notInstalled(err):
		return "Is JobRun installed in this cluster? `kubectl get crd jobruns.batch.jobrun.dev` tells."
	case isNo("jobruns", err):
		return "`kubectl get jobruns` lists those of the namespace; -n names another namespace."
	case isNo("jobdefinitions", err):
		return "`" + display + " definitions` lists those of the namespace; -n names another namespace."
	}
	return ""
}

// conflictHint adds to a conflict what the user can do about the waiting run.
func conflictHint(err error, canCoalesce bool) error {
	var conflict *jobrun.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	hint := fmt.Sprintf("`%s wait %s` waits for that run, `%s cancel %[2]s` cancels it", display, conflict.PendingRun, display)
	if canCoalesce {
		hint += ". With --coalesce, that run absorbs this trigger"
	}
	return &hinted{err, hint + "."}
}

// definedHint adds to the refusal of a trigger where to see what its definition wants.
func definedHint(err error, job string) error {
	var invalid *jobrun.ValidationError
	if !errors.As(err, &invalid) || invalid.Unsent {
		return err
	}
	for _, f := range invalid.Fields {
		switch {
		case f.Field == "spec.jobName":
			return &hinted{err, fmt.Sprintf("`%s definitions` lists the jobs that are defined here.", display)}
		case strings.HasPrefix(f.Field, "spec.input"), strings.Contains(f.Message, "JobDefinition"):
			return &hinted{err, fmt.Sprintf("`%s describe definition %s` shows what a trigger of that job may say.", display, job)}
		}
	}
	return err
}

// isNo reports whether an object of a resource was not found, rather than its namespace.
func isNo(resource string, err error) bool {
	var answer apierrors.APIStatus
	if !errors.Is(err, jobrun.ErrNotFound) || !errors.As(err, &answer) {
		return false
	}
	details := answer.Status().Details
	return details != nil && details.Kind == resource
}

// notInstalled reports whether the API server does not know JobRuns at all.
func notInstalled(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || !apierrors.IsNotFound(err) {
		return false
	}
	details := answer.Status().Details
	return details == nil || details.Name == ""
}
