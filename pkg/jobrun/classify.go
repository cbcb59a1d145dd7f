// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// causePendingRun is the type of the status cause whose message is the name of the waiting run.
	causePendingRun metav1.CauseType = "PendingRun"
	// reasonLeaseExpired is the reason of the condition Failed of a run that failed because its lease expired.
	reasonLeaseExpired = "LeaseExpired"
	// reasonRunDeleted is the reason of the condition Cancelled of a receipt whose run was deleted before its end.
	reasonRunDeleted = "RunDeleted"
)

var (
	kind     = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobRun"}
	resource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "jobruns"}
)

// Classify turns an API server's answer about a JobRun into a *ConflictError, *ValidationError or *NotFoundError that
// unwraps to it. The answer may come through any client. If the API server refused an external worker's status because
// the lease was lost, errors.Is matches the result with ErrLeaseLost. Every other error, and nil, is returned unchanged.
func Classify(err error) error {
	var status apierrors.APIStatus
	if classified(err) || !errors.As(err, &status) {
		return err
	}
	details := status.Status().Details
	if details == nil {
		details = &metav1.StatusDetails{}
	}
	switch {
	case apierrors.IsConflict(err):
		if pending := pendingRun(details); pending != "" {
			return &ConflictError{PendingRun: pending, answer: answer{err}}
		}
	case apierrors.IsInvalid(err):
		return &ValidationError{Fields: fieldErrors(details), answer: answer{err}}
	case apierrors.IsNotFound(err):
		return &NotFoundError{Name: details.Name, answer: answer{err}}
	}
	return err
}

func classified(err error) bool {
	return errors.As(err, new(*ConflictError)) || errors.As(err, new(*ValidationError)) || errors.As(err, new(*NotFoundError))
}

func pendingRun(details *metav1.StatusDetails) string {
	for _, cause := range details.Causes {
		if cause.Type == causePendingRun {
			return cause.Message
		}
	}
	return ""
}

func fieldErrors(details *metav1.StatusDetails) []FieldError {
	var found []FieldError
	for _, cause := range details.Causes {
		found = append(found, FieldError{Field: cause.Field, Message: cause.Message})
	}
	return found
}

// invalid returns the error for a request that is not sent.
func invalid(name string, errs field.ErrorList) error {
	err := apierrors.NewInvalid(kind, name, errs)
	return &ValidationError{Fields: fieldErrors(err.ErrStatus.Details), Unsent: true, answer: answer{err}}
}

// missing returns the error for a JobRun that does not exist.
func missing(name string) error {
	return Classify(apierrors.NewNotFound(resource, name))
}
