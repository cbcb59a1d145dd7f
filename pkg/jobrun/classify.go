// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"errors"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// reasonLeaseExpired is the reason of the condition Failed of a run that failed because its lease expired.
	reasonLeaseExpired = "LeaseExpired"
	// reasonJobLost is the reason of the condition Failed of a run whose Job is gone without a known end.
	reasonJobLost = "JobLost"
	// reasonRunDeleted is the reason of the condition Cancelled of a receipt whose run was deleted before its end.
	reasonRunDeleted = "RunDeleted"
)

// isLeaseLost reports whether a run with this reason of the condition Failed failed because it lost its lease.
func isLeaseLost(reason string) bool { return reason == reasonLeaseExpired || reason == reasonJobLost }

var (
	kind     = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobRun"}
	resource = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "jobruns"}
)

// Classify turns an API server's answer about a JobRun into a *ConflictError, *ReservedError, *ValidationError, *ForbiddenError,
// *NotFoundError or *WebhookDownError that unwraps to it. The answer may come through any client. If the API server refused an
// external worker's status because the lease was lost, errors.Is matches the result with ErrLeaseLost. Every other error, and
// nil, is returned unchanged.
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
		if pending := messageOf(details, v1alpha1.CausePendingRun); pending != "" {
			return &ConflictError{PendingRun: pending, answer: answer{err}}
		}
		if missing := messageOf(details, v1alpha1.CauseReservedRun); missing != "" {
			return &ReservedError{
				Run:        missing,
				ReservedAt: timeOf(details, v1alpha1.CauseReservedAt),
				FreeBy:     timeOf(details, v1alpha1.CauseFreeBy),
				answer:     answer{err},
			}
		}
	case apierrors.IsInvalid(err):
		return &ValidationError{Fields: fieldErrors(details), answer: answer{err}}
	case apierrors.IsForbidden(err):
		if forbidden := missingRight(err, details); forbidden != nil {
			return forbidden
		}
	case apierrors.IsNotFound(err):
		return &NotFoundError{Name: details.Name, answer: answer{err}}
	}
	if webhook := uncalledWebhook(err); webhook != "" {
		return &WebhookDownError{Webhook: webhook, answer: answer{err}}
	}
	return err
}

// The texts with which the API server and the webhook name a right that a user lacks. The answer has no other place for it.
var (
	apiServersRight = regexp.MustCompile(`cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"`)
	webhooksRight   = regexp.MustCompile(`needs the verb (?P<verb>\S+) on (?P<resource>[a-z/]+)\.(?P<group>[a-z0-9.-]+[a-z0-9])(?: "(?P<name>[^"]+)")?`)
)

// missingRight returns the error for an answer that names the right that the user lacks, or nil.
func missingRight(err error, details *metav1.StatusDetails) error {
	forbidden := &ForbiddenError{answer: answer{err}}
	if right := webhooksRight.FindStringSubmatch(err.Error()); right != nil {
		forbidden.Verb, forbidden.Resource, forbidden.Group, forbidden.Name = right[1], right[2], right[3], right[4]
		return forbidden
	}
	right := apiServersRight.FindStringSubmatch(err.Error())
	if right == nil {
		return nil
	}
	forbidden.Verb, forbidden.Resource, forbidden.Group = right[1], right[2], right[3]
	if details.Kind == forbidden.Resource && details.Group == forbidden.Group {
		forbidden.Name = details.Name
	}
	return forbidden
}

func classified(err error) bool {
	return errors.As(err, new(*ConflictError)) || errors.As(err, new(*ReservedError)) ||
		errors.As(err, new(*ValidationError)) || errors.As(err, new(*NotFoundError)) || errors.As(err, new(*WebhookDownError)) ||
		errors.As(err, new(*ForbiddenError))
}

// uncalledWebhook returns the webhook that the API server could not call, if that is why it answers 500. The answer has no
// reason of its own for that, but this text since Kubernetes 1.9.
func uncalledWebhook(err error) string {
	_, rest, found := strings.Cut(err.Error(), `failed calling webhook "`)
	if !apierrors.IsInternalError(err) || !found {
		return ""
	}
	webhook, _, _ := strings.Cut(rest, `"`)
	return webhook
}

// messageOf returns the message of the first cause of a type.
func messageOf(details *metav1.StatusDetails, kind metav1.CauseType) string {
	for _, cause := range details.Causes {
		if cause.Type == kind {
			return cause.Message
		}
	}
	return ""
}

// timeOf returns the time in the message of a cause. It is zero if there is none.
func timeOf(details *metav1.StatusDetails, kind metav1.CauseType) time.Time {
	t, err := time.Parse(time.RFC3339, messageOf(details, kind))
	if err != nil {
		return time.Time{}
	}
	return t
}

func fieldErrors(details *metav1.StatusDetails) []FieldError {
	var found []FieldError
	for _, cause := range details.Causes {
		found = append(found, FieldError{Field: cause.Field, Message: cause.Message})
	}
	return found
}

// invalid returns the error for a request that is not sent.
func invalid(name string, errs field.ErrorList) error { return unsentOf(kind, name, errs) }

// invalidDefinition is invalid for a request about a JobDefinition.
func invalidDefinition(name string, errs field.ErrorList) error {
	return unsentOf(schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobDefinition"}, name, errs)
}

func unsentOf(kind schema.GroupKind, name string, errs field.ErrorList) error {
	err := apierrors.NewInvalid(kind, name, errs)
	return &ValidationError{Fields: fieldErrors(err.ErrStatus.Details), Unsent: true, answer: answer{err}}
}

// missing returns the error for a JobRun that does not exist.
func missing(name string) error {
	return Classify(apierrors.NewNotFound(resource, name))
}
