// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"errors"
	"fmt"
	"strings"
)

// What errors.Is recognises, whatever else the error says.
var (
	// ErrConflict is that a run waits for the trigger's key; *ConflictError names it.
	ErrConflict = errors.New("a run is pending for the key")
	// ErrInvalid is that a field is not valid; *ValidationError names it.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound is that there is no such JobRun (any more).
	ErrNotFound = errors.New("not found")
	// ErrFailed is that a run failed; *FailedError says why.
	ErrFailed = errors.New("run failed")
	// ErrCancelled is that a run was cancelled, or deleted before it ended.
	ErrCancelled = errors.New("run cancelled")
	// ErrLeaseLost is that a run failed because its lease expired, or that the
	// API server refused what a holder reported because its lease was lost.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnanswered is that it is not known whether a trigger was accepted.
	ErrUnanswered = errors.New("unanswered")
)

// ConflictError is a trigger that was refused because a run waits for its key
// and it did not ask to coalesce. Nothing was created. It is ErrConflict, and
// unwraps to the API server's answer.
type ConflictError struct {
	// PendingRun is the name of the run that waits.
	PendingRun string

	err error
}

// Error is the API server's message.
func (e *ConflictError) Error() string { return e.err.Error() }

// Unwrap is the API server's answer.
func (e *ConflictError) Unwrap() error { return e.err }

// Is is true of ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// FieldError says what is wrong with a field.
type FieldError struct {
	// Field is its path, for example spec.jobName.
	Field string
	// Message says what is wrong.
	Message string
}

// ValidationError is a request that was refused, by the API server or before it
// was sent, because fields are not valid. It is ErrInvalid, and unwraps to an
// error of which apierrors.IsInvalid is true.
type ValidationError struct {
	// Fields are those that are not valid, at least one unless the API server
	// named none.
	Fields []FieldError
	// Unsent is that the request was refused before it was sent.
	Unsent bool

	err error
}

// Error names the fields.
func (e *ValidationError) Error() string { return e.err.Error() }

// Unwrap is the API server's answer, or what stands for it.
func (e *ValidationError) Unwrap() error { return e.err }

// Is is true of ErrInvalid, and of ErrLeaseLost if that is what is wrong.
func (e *ValidationError) Is(target error) bool {
	return target == ErrInvalid || target == ErrLeaseLost && e.leaseLost()
}

// leaseLost reports whether the schema fenced a holder off.
func (e *ValidationError) leaseLost() bool {
	for _, f := range e.Fields {
		switch f.Field {
		case "status.finishedGeneration", "status.progress.generation":
			return strings.Contains(f.Message, "this holder's lease was lost")
		}
	}
	return false
}

// NotFoundError is that a JobRun does not exist, or not any more. It is
// ErrNotFound, and unwraps to an error of which apierrors.IsNotFound is true.
type NotFoundError struct {
	// Name of what does not exist.
	Name string

	err error
}

// Error is the API server's message, or says what was lost.
func (e *NotFoundError) Error() string { return e.err.Error() }

// Unwrap is the API server's answer, or what stands for it.
func (e *NotFoundError) Unwrap() error { return e.err }

// Is is true of ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// FailedError is the outcome of a run that failed. It is ErrFailed, and
// ErrLeaseLost if the run failed because its lease expired.
type FailedError struct {
	// RunName is the run that failed: the one that stands for the trigger.
	RunName string
	// Reason is that of the condition Failed; empty if the run has no such condition.
	Reason string
	// Message is the run's own.
	Message string
}

// Error says which run failed, and why.
func (e *FailedError) Error() string {
	return fmt.Sprintf("run %s failed: %s", e.RunName, e.Message)
}

// Is is true of ErrFailed, and of ErrLeaseLost.
func (e *FailedError) Is(target error) bool {
	return target == ErrFailed || target == ErrLeaseLost && e.Reason == reasonLeaseExpired
}

// CancelledError is the outcome of a run that was cancelled, or deleted before
// it ended. It is ErrCancelled.
type CancelledError struct {
	// RunName is the run, or the receipt, that was cancelled.
	RunName string
	// Reason is that of the condition Cancelled: Cancelled or RunDeleted. Empty
	// if the run has no such condition.
	Reason string
	// Message is the run's own.
	Message string
}

// Error says which run was cancelled, and why.
func (e *CancelledError) Error() string {
	return fmt.Sprintf("run %s was cancelled: %s", e.RunName, e.Message)
}

// Is is true of ErrCancelled.
func (e *CancelledError) Is(target error) bool { return target == ErrCancelled }

// UnansweredError is a trigger of which it is not known whether it was accepted:
// no answer came, or one that leaves it open. It is ErrUnanswered, and unwraps to what went
// wrong last. If the JobRun exists under this name, it was accepted.
type UnansweredError struct {
	// Name that the JobRun has if it exists.
	Name string

	err error
}

// Error says what went wrong.
func (e *UnansweredError) Error() string {
	return fmt.Sprintf("it is not known whether JobRun %s was created: %v", e.Name, e.err)
}

// Unwrap is what went wrong last.
func (e *UnansweredError) Unwrap() error { return e.err }

// Is is true of ErrUnanswered.
func (e *UnansweredError) Is(target error) bool { return target == ErrUnanswered }
