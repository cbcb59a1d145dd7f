// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of errors, for errors.Is. The error types have the details, for errors.As.
var (
	// ErrConflict means that a run waits for the trigger's key. See ConflictError.
	ErrConflict = errors.New("a run is pending for the key")
	// ErrReserved means that the trigger's key is reserved for a run that does not exist. See ReservedError.
	ErrReserved = errors.New("the key is reserved")
	// ErrInvalid means that a field is not valid. See ValidationError.
	ErrInvalid = errors.New("invalid")
	// ErrForbidden means that the user lacks a right. See ForbiddenError.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound means that the JobRun or JobDefinition does not exist, or no longer exists. See NotFoundError.
	ErrNotFound = errors.New("not found")
	// ErrFailed means that a run failed. See FailedError.
	ErrFailed = errors.New("run failed")
	// ErrCancelled means that a run was cancelled, or deleted before it ended. See CancelledError.
	ErrCancelled = errors.New("run cancelled")
	// ErrLeaseLost means that a run failed because its lease expired or because its Job was lost, or that the API server
	// refused a holder's report because the holder had lost its lease.
	ErrLeaseLost = errors.New("lease lost")
	// ErrWebhookDown means that the API server could not call a webhook, so it carried nothing out. See WebhookDownError.
	ErrWebhookDown = errors.New("a webhook is down")
	// ErrUnanswered means that it is not known whether a trigger was accepted. See UnansweredError.
	ErrUnanswered = errors.New("unanswered")
)

// answer is the API server's answer, or an error of the same type that this package makes before it sends a request.
type answer struct{ err error }

func (a *answer) Error() string { return a.err.Error() }

func (a *answer) Unwrap() error { return a.err }

// ConflictError means that a trigger was refused: a run waits for its key, and the trigger did not ask to coalesce.
// Nothing was created. It unwraps to the API server's answer.
type ConflictError struct {
	// PendingRun is the name of the run that waits.
	PendingRun string

	answer
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ReservedError means that a trigger was refused: its key is reserved for a run that does not exist, and the
// trigger did not ask to coalesce. The create of that run is under way, or it was refused by a quota, a policy or
// another webhook, or the run was deleted. Nothing was created, and perhaps no run waits. So trigger again, at
// FreeBy at the latest. Then the trigger is accepted, or refused because of another run. It unwraps to the API
// server's answer.
type ReservedError struct {
	// Run is the name of the run that does not exist.
	Run string
	// ReservedAt is the time of the reservation, in whole seconds. It is zero if the time is not known.
	ReservedAt time.Time
	// FreeBy is when the reservation has ended at the latest if the run does not come to exist. It may end before, and does
	// once the operator knows that no create is under way. The bound holds as long as one controller of the operator runs. A
	// controller that starts later measures the grace period of the reservation anew.
	FreeBy time.Time

	answer
}

// Is reports whether target is ErrReserved.
func (e *ReservedError) Is(target error) bool { return target == ErrReserved }

// FieldError describes a field that is not valid.
type FieldError struct {
	// Field is the path of the field, for example spec.jobName.
	Field string
	// Message is the reason, for people.
	Message string
}

// ValidationError means that a request was refused because fields are not valid. The API server refused it, or this
// package before it was sent. It unwraps to an error for which apierrors.IsInvalid is true.
type ValidationError struct {
	// Fields are the fields that are not valid. It is empty only if the API server named no field.
	Fields []FieldError
	// Unsent means that the request was refused before it was sent.
	Unsent bool

	answer
}

// Is reports whether target is ErrInvalid, or ErrLeaseLost for a report that was refused because the lease was lost.
func (e *ValidationError) Is(target error) bool {
	return target == ErrInvalid || target == ErrLeaseLost && e.leaseLost()
}

// leaseLost reports whether the CRD's rules refused a holder of an earlier generation.
func (e *ValidationError) leaseLost() bool {
	for _, f := range e.Fields {
		switch f.Field {
		case "status.finishedGeneration", "status.progress.generation":
			return strings.Contains(f.Message, "this holder's lease was lost")
		}
	}
	return false
}

// ForbiddenError means that a request was refused because the user lacks a right. Nothing was created or changed, and no key
// was taken. It unwraps to the API server's answer, for which apierrors.IsForbidden is true. A request that a quota or a
// policy forbids gets that answer, but no ForbiddenError.
type ForbiddenError struct {
	// Verb, Group and Resource are the right, as in a Role: to trigger a defined job is "trigger" on "jobdefinitions" in
	// "batch.jobrun.dev", to trigger with a template is also "create" on "jobs" in "batch".
	Verb, Group, Resource string
	// Name is the name of the object that the right is about, for resourceNames. It is empty if the answer does not name one.
	Name string

	answer
}

// Is reports whether target is ErrForbidden.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

// NotFoundError means that a JobRun or a JobDefinition does not exist, or no longer exists. It unwraps to an error for which
// apierrors.IsNotFound is true.
type NotFoundError struct {
	// Name is the name of the object.
	Name string

	answer
}

// Is reports whether target is ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// FailedError means that a run failed.
type FailedError struct {
	// RunName is the name of the run that failed. For a receipt it is the run that stands for it.
	RunName string
	// Reason is the reason of the condition Failed. It is empty if the run has no such condition.
	Reason string
	// Message is the run's status.error or, without one, the message of the condition.
	Message string
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("run %s failed: %s", e.RunName, e.Message)
}

// Is reports whether target is ErrFailed, or ErrLeaseLost if the run failed because its lease expired or because its Job
// was lost.
func (e *FailedError) Is(target error) bool {
	return target == ErrFailed || target == ErrLeaseLost && isLeaseLost(e.Reason)
}

// CancelledError means that a run was cancelled, or deleted before it ended.
type CancelledError struct {
	// RunName is the name of the run, or of the receipt if the receipt itself was cancelled.
	RunName string
	// Reason is the reason of the condition Cancelled, for example Cancelled or RunDeleted. It is empty if the run has
	// no such condition.
	Reason string
	// Message is the run's status.error or, without one, the message of the condition.
	Message string
}

func (e *CancelledError) Error() string {
	return fmt.Sprintf("run %s was cancelled: %s", e.RunName, e.Message)
}

// Is reports whether target is ErrCancelled.
func (e *CancelledError) Is(target error) bool { return target == ErrCancelled }

// WebhookDownError means that the API server could not call a webhook for a request, or got no answer from it. Mostly it is
// JobRun's own, whose replicas are all down. The API server calls webhooks before it stores anything, so nothing was
// created or changed. Try again later. It unwraps to the API server's answer.
type WebhookDownError struct {
	// Webhook is the name of the webhook, for example mjobrun.batch.jobrun.dev.
	Webhook string

	answer
}

// Is reports whether target is ErrWebhookDown.
func (e *WebhookDownError) Is(target error) bool { return target == ErrWebhookDown }

// UnansweredError means that it is not known whether a trigger was accepted: no answer came, or an answer that leaves it
// open. If a JobRun of this trigger exists under Name, the trigger was accepted. It unwraps to the last error.
type UnansweredError struct {
	// Name is the name of the JobRun, if it exists.
	Name string
	// Trigger is the value of the JobRun's annotation batch.jobrun.dev/trigger. A JobRun of another trigger has another value.
	Trigger string

	err error
}

func (e *UnansweredError) Error() string {
	return fmt.Sprintf("it is not known whether JobRun %s was created: %v", e.Name, e.err)
}

func (e *UnansweredError) Unwrap() error { return e.err }

// Is reports whether target is ErrUnanswered.
func (e *UnansweredError) Is(target error) bool { return target == ErrUnanswered }
