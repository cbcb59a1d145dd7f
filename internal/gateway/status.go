// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// writePatience is how long the client may take to read an answer.
const writePatience = 30 * time.Second

// retrySeconds is the Retry-After of a 429 and a 503 that name no other time.
const retrySeconds = 1

// writeJSON writes an answer.
func (s *Server) writeJSON(w http.ResponseWriter, code int, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	s.write(w, code, append(text, '\n'))
	return nil
}

// write writes a JSON text. That the client is gone is no error.
func (s *Server) write(w http.ResponseWriter, code int, text []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(s.Clock.Now().Add(writePatience)) // a recorder of a test has none
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}

// writeError writes an error as a Status.
func (s *Server) writeError(w http.ResponseWriter, err error) {
	s.logCause(w.Header().Get(requestIDHeader), err)
	status := statusOf(err)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	if status.Code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	text, _ := json.Marshal(status) // a Status can be encoded
	s.write(w, int(status.Code), append(text, '\n'))
}

// statusOf returns the Status for an error. What the API server answered is passed on, but for what it says about the
// gateway itself: its token, its rights. Errors of connections have addresses of the cluster, so logCause has them instead.
func statusOf(err error) metav1.Status {
	var (
		unanswered *jobrun.UnansweredError
		down       *jobrun.WebhookDownError
		own        *jobrun.ForbiddenError
		answer     apierrors.APIStatus
	)
	switch {
	case errors.As(err, &unanswered):
		text := fmt.Sprintf("it is not known whether JobRun %s was created: the answer of the API server was lost%s", unanswered.Name, seeLog)
		timeout := apierrors.NewTimeoutError(text, 0).Status()
		timeout.Details.Group, timeout.Details.Kind, timeout.Details.Name = jobRuns.Group, jobRuns.Resource, unanswered.Name
		return finished(timeout)
	case errors.As(err, &down):
		return finished(unavailable(fmt.Sprintf("the API server could not call the webhook %s, so nothing was changed; try again%s", down.Webhook, seeLog)).Status())
	case errors.As(err, &own):
		return finished(apierrors.NewInternalError(fmt.Errorf("the gateway's own user: %w", own)).Status())
	case !errors.As(err, &answer):
		return finished(unavailable("the API server did not answer, try again" + seeLog).Status())
	case answer.Status().Code == http.StatusUnauthorized && !isOwn(err):
		return finished(unavailable("the API server does not know the gateway's user").Status())
	default:
		return finished(answer.Status())
	}
}

// seeLog ends a message whose cause logCause has logged.
const seeLog = " (the log of the gateway has the cause, under the X-Request-Id of this answer)"

// logCause logs an error whose Status does not tell the cause.
func (s *Server) logCause(requestID string, err error) {
	hidden := errors.As(err, new(*jobrun.UnansweredError)) || errors.As(err, new(*jobrun.WebhookDownError)) || !errors.As(err, new(apierrors.APIStatus))
	if hidden && !errors.Is(err, context.Canceled) { // the client is gone
		s.Log.Error(err, "The API server did not answer a request", "requestID", requestID)
	}
}

// statusCode returns the code of a Status that is an error, or 0.
func statusCode(err error) int32 {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		return answer.Status().Code
	}
	return 0
}

// isOwn reports whether the gateway made an error itself, for the caller.
func isOwn(err error) bool { return errors.As(err, new(*unauthorizedError)) }

// unauthorizedError is a 401 about the caller, not about the gateway.
type unauthorizedError struct{ *apierrors.StatusError }

func unauthorized(reason string) error {
	return &unauthorizedError{apierrors.NewUnauthorized(reason)}
}

// finished completes a Status, as the API server sends it.
func finished(status metav1.Status) metav1.Status {
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	if status.Code < http.StatusBadRequest {
		status.Code = http.StatusInternalServerError
	}
	return status
}

// The errors that the API server has no constructor for, or one with another text.

func badRequest(format string, args ...any) *apierrors.StatusError {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}

func unavailable(message string) *apierrors.StatusError {
	err := apierrors.NewServiceUnavailable(message)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retrySeconds}
	return err
}

// newInvalid is a 422 about a JobRun.
func newInvalid(name string, errs field.ErrorList) *apierrors.StatusError {
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobRun").GroupKind(), name, errs)
}

// failed returns an error with any code.
func failed(code int32, reason metav1.StatusReason, format string, args ...any) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: fmt.Sprintf(format, args...),
	}}
}
