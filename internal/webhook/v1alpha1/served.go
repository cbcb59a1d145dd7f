// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// servedOnly refuses requests for objects in namespaces that the operator does not serve: nothing would act on such an object, and
// the operator does not know its key. If no namespaces are given, the operator serves all.
func servedOnly(namespaces []string, next admission.Handler) admission.Handler {
	if len(namespaces) == 0 {
		return next
	}
	return admission.HandlerFunc(func(ctx context.Context, req admission.Request) admission.Response {
		if slices.Contains(namespaces, req.Namespace) {
			return next.Handle(ctx, req)
		}
		resource := schema.GroupResource{Group: req.Resource.Group, Resource: req.Resource.Resource}
		return refused(apierrors.NewForbidden(resource, req.Name, fmt.Errorf(
			"the JobRun operator does not serve namespace %q, only %s: its flag --namespaces says so", req.Namespace, strings.Join(namespaces, ", "))))
	})
}
