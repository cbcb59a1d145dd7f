// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
)

// reservationSlack is the time that the end of a reservation may take beyond the grace period. RunKeys record whole
// seconds, and the controller needs a moment to see the reservation and to end it.
const reservationSlack = 3 * time.Second

// reservedError means that the key of a trigger is reserved for a run that does not exist.
type reservedError struct {
	*keystore.ConflictError
	// freeBy is when the reservation has ended at the latest if its run does not come to exist.
	freeBy time.Time
}

func (e *reservedError) Error() string {
	since := ""
	if !e.Since.IsZero() {
		since = fmt.Sprintf(" %s ago", max(e.Asked.Sub(e.Since), 0).Truncate(time.Second))
	}
	return fmt.Sprintf("concurrencyKey %q of job %q was reserved%s for run %s, which does not exist: "+
		"its create is under way or was refused, or it was deleted; the reservation ends by %s at the latest",
		e.Key, e.JobName, since, e.Pending.RunName, e.freeBy.Format(time.RFC3339))
}

func (e *reservedError) Unwrap() error { return e.ConflictError }

// reservedBy turns a conflict with a run that does not exist into a *reservedError. It returns other errors unchanged.
func (h *Handler) reservedBy(ctx context.Context, namespace string, err error) error {
	var conflict *keystore.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	switch exists, readErr := h.keys.Exists(ctx, namespace, conflict.Pending); {
	case readErr != nil:
		return readErr
	case exists:
		return err
	}
	return &reservedError{ConflictError: conflict, freeBy: freeBy(conflict.Since, conflict.Asked, h.grace)}
}

// freeBy returns when a reservation has ended at the latest, in whole seconds. If it has lasted longer than it should,
// the controller was restarted and measures the grace period anew.
func freeBy(since, now time.Time, grace time.Duration) time.Time {
	end := since.Add(grace + reservationSlack)
	if end.Before(now) {
		end = now.Add(grace + reservationSlack)
	}
	return end.Add(time.Second - 1).Truncate(time.Second).UTC()
}

// status returns the 409 that names the missing run and the times of its reservation.
func (e *reservedError) status(name string) *apierrors.StatusError {
	err := apierrors.NewConflict(resource, name, e)
	cause := func(kind metav1.CauseType, message string) {
		causes := &err.ErrStatus.Details.Causes
		*causes = append(*causes, metav1.StatusCause{Type: kind, Field: "spec.concurrencyKey", Message: message})
	}
	cause(v1alpha1.CauseReservedRun, e.Pending.RunName)
	if !e.Since.IsZero() {
		cause(v1alpha1.CauseReservedAt, e.Since.UTC().Format(time.RFC3339))
	}
	cause(v1alpha1.CauseFreeBy, e.freeBy.Format(time.RFC3339))
	return err
}
