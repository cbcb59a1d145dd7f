// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConflict    = 3
	exitTimeout     = 4
	exitNothing     = 5
	exitLost        = 6
	exitReserved    = 7
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
  0    done; with --wait or wait: the run completed
  1    the run failed or was cancelled, or the API server refused the request
  2    the command line, or a file that it names, is wrong; nothing was sent
  3    conflict: a run waits for the key, and the trigger did not ask to coalesce
  4    --timeout ran out, or no answer came in time; the run goes on
  5    claim: there is nothing to claim
  6    renew, progress, complete, fail, release: the lease is lost, or the run was cancelled;
       stop working on the run
  7    --timeout ran out while the key was reserved for a run that does not exist;
       nothing was created
  130  interrupted by Ctrl-C; the run goes on, unless --cancel-on-interrupt cancels it`

// usageError means that the command line is wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// timeLimit is the cause of a context that reached its time limit.
type timeLimit struct{ limit time.Duration }

func (e *timeLimit) Error() string { return fmt.Sprintf("timed out after %s", e.limit) }

// unfinished means that the plugin stopped before the run ended.
type unfinished struct {
	cause error
	// what names the run that goes on; again is the command that waits again.
	what, again string
	// run is the run that stands for the JobRun, if it is known.
	run string
}

func (e *unfinished) Error() string {
	return fmt.Sprintf("%v; %s goes on. To wait again: `%s`", e.cause, e.what, e.again)
}

func (e *unfinished) Unwrap() error { return e.cause }

var errInterrupted = errors.New("interrupted")

// stopped returns why a context ended: its time limit, or the user.
func stopped(ctx context.Context) error {
	var limit *timeLimit
	if errors.As(context.Cause(ctx), &limit) {
		return limit
	}
	return errInterrupted
}

// unlessStopped adds to the error of a request that its context ended, if it did.
func unlessStopped(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", stopped(ctx), err)
}

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	var usage *usageError
	var limit *timeLimit
	var nothing *nothingToClaim
	var lost *leaseLost
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), unsent(err):
		return exitUsage
	case errors.Is(err, jobrun.ErrConflict):
		return exitConflict
	case errors.As(err, &lost):
		return exitLost
	case errors.As(err, &limit) && isReserved(err):
		return exitReserved
	case errors.As(err, &limit):
		return exitTimeout
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, jobrun.ErrUnanswered):
		return exitTimeout
	case errors.As(err, &nothing):
		return exitNothing
	default:
		return exitFailed
	}
}

// report prints an error with a hint, and returns the exit code.
func report(w io.Writer, command string, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w, "%s%v\n", origin(err), err)
	if hint := hintFor(command, err); hint != "" {
		fmt.Fprintln(w, hint)
	}
	return exitCode(err)
}

// origin returns the beginning of an error line, as kubectl prints it.
func origin(err error) string {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) && !unsent(err) {
		if reason := apierrors.ReasonForError(err); reason != "" {
			return fmt.Sprintf("Error from server (%s): ", reason)
		}
		return "Error from server: "
	}
	return "error: "
}

// unsent reports whether a request was refused before it was sent.
func unsent(err error) bool {
	var invalid *jobrun.ValidationError
	return errors.As(err, &invalid) && invalid.Unsent
}

// passing reports whether a request may succeed at the next try: the API server did not answer, or was busy.
// An error with a hint is the plugin's own, and final.
func passing(err error) bool {
	var answer apierrors.APIStatus
	var own *hinted
	if !errors.As(err, &answer) {
		return !errors.As(err, &own)
	}
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "is waiting to start") // a log that the node does not have yet
}
