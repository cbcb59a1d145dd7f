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
	// causePendingRun is the type of the cause of a conflict whose message is
	// the name of the pending run.
	causePendingRun metav1.CauseType = "PendingRun"
	// reasonLeaseExpired is the reason of the condition Failed of a run whose
	// lease ended before it did.
	reasonLeaseExpired = "LeaseExpired"
	// reasonRunDeleted is the reason of the condition Cancelled of a receipt
	// whose run was deleted before it ended.
	reasonRunDeleted = "RunDeleted"
)

var (
	kind     = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobRun"}
	resource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "jobruns"}
)

// Classify gives an error of any client of the API server about a JobRun the
// type that this package has for it: *ConflictError, *ValidationError or
// *NotFoundError, which unwrap to it. An external worker learns from it that
// its status was refused because its lease was lost (ErrLeaseLost). Every other
// error, and nil, comes back as it is.
func Classify(err error) error {
	var answer apierrors.APIStatus
	if classified(err) || !errors.As(err, &answer) {
		return err
	}
	status := answer.Status()
	switch {
	case apierrors.IsConflict(err):
		if pending := pendingRun(status); pending != "" {
			return &ConflictError{PendingRun: pending, err: err}
		}
	case apierrors.IsInvalid(err):
		return &ValidationError{Fields: fieldErrors(status), err: err}
	case apierrors.IsNotFound(err):
		return &NotFoundError{Name: nameIn(status), err: err}
	}
	return err
}

func classified(err error) bool {
	var (
		conflict *ConflictError
		invalid  *ValidationError
		missing  *NotFoundError
	)
	return errors.As(err, &conflict) || errors.As(err, &invalid) || errors.As(err, &missing)
}

func pendingRun(status metav1.Status) string {
	if status.Details == nil {
		return ""
	}
	for _, cause := range status.Details.Causes {
		if cause.Type == causePendingRun {
			return cause.Message
		}
	}
	return ""
}

func fieldErrors(status metav1.Status) []FieldError {
	if status.Details == nil {
		return nil
	}
	var found []FieldError
	for _, cause := range status.Details.Causes {
		found = append(found, FieldError{Field: cause.Field, Message: cause.Message})
	}
	return found
}

func nameIn(status metav1.Status) string {
	if status.Details == nil {
		return ""
	}
	return status.Details.Name
}

// invalid is the error of a request that was not sent.
func invalid(name string, errs field.ErrorList) error {
	err := apierrors.NewInvalid(kind, name, errs)
	return &ValidationError{Fields: fieldErrors(err.ErrStatus), Unsent: true, err: err}
}

// missing is the error of a JobRun that is not there.
func missing(name string) error {
	return Classify(apierrors.NewNotFound(resource, name))
}
