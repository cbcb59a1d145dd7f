// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// TriggerDefined triggers a run of the job that a JobDefinition defines. The definition gives all fields but the input: see
// Defined for what input can be. The options are those of Trigger. For a batch, for TriggerAndWait, or to set a field that
// the definition leaves to the trigger, use Defined.
//
// It returns the errors of Trigger. If the input does not fit the definition, the Fields of the *ValidationError name each
// place. If the namespace does not define the job and the operator wants it defined, they name spec.jobName. A
// *ForbiddenError names the right that is missing.
func (c *Client) TriggerDefined(ctx context.Context, jobName string, input any, opts ...TriggerOption) (TriggerResult, error) {
	spec, err := Defined(jobName, input)
	if err != nil {
		return TriggerResult{}, err
	}
	return c.Trigger(ctx, spec, opts...)
}

// Defined returns the spec of a trigger that a JobDefinition completes: its jobName and its input. The input is any value that
// encoding/json can encode, for example a struct, a map, json.RawMessage or *apiextensionsv1.JSON. Nil, or what is encoded as
// null, means no input. A *ValidationError means that the input cannot be encoded.
func Defined(jobName string, input any) (v1alpha1.JobRunSpec, error) {
	spec := v1alpha1.JobRunSpec{JobName: jobName}
	text, err := json.Marshal(input)
	if err != nil {
		return spec, invalid("", field.ErrorList{field.Invalid(field.NewPath("spec", "input"), "", err.Error())})
	}
	if !bytes.Equal(text, []byte("null")) {
		spec.Input = &apiextensionsv1.JSON{Raw: text}
	}
	return spec, nil
}

// Definition reads the JobDefinition of a job. Errors: *ValidationError (the name), *NotFoundError, or the API server's.
func (c *Client) Definition(ctx context.Context, jobName string) (*v1alpha1.JobDefinition, error) {
	errs := c.validateNamespace()
	if errs = append(errs, validateJobName(jobName, field.NewPath("metadata", "name"))...); len(errs) > 0 {
		return nil, invalidDefinition(jobName, errs)
	}
	definition := &v1alpha1.JobDefinition{}
	if err := c.api.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: jobName}, definition); err != nil {
		return nil, Classify(err)
	}
	return definition, nil
}

// Definitions reads the JobDefinitions of the namespace, or of all namespaces, in the order of namespaces and names. Errors are
// the API server's.
func (c *Client) Definitions(ctx context.Context) ([]v1alpha1.JobDefinition, error) {
	var list v1alpha1.JobDefinitionList
	if err := c.api.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return nil, Classify(err)
	}
	slices.SortFunc(list.Items, byName)
	return list.Items, nil
}

func byName(a, b v1alpha1.JobDefinition) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// againAsDefined returns the spec of a trigger that is to be completed by the definition once more. It leaves to the
// definition what the definition gave the first trigger, because the definition may have changed since.
func againAsDefined(spec v1alpha1.JobRunSpec, definition *v1alpha1.JobDefinition) v1alpha1.JobRunSpec {
	next := v1alpha1.JobRunSpec{JobName: spec.JobName, Input: spec.Input}
	for _, name := range definition.Spec.Overridable {
		keepField(&next, &spec, name)
	}
	if definition.Spec.IdempotencyKeyExpression != "" {
		// The expression would give the key of the first trigger, and nothing would execute.
		next.IdempotencyKey = "retrigger-" + string(uuid.NewUUID())
	}
	return next
}

// keepField copies a field that the trigger may have set itself. A retrigger does without the fields that concern its
// idempotencyKey, and never asks to coalesce.
func keepField(next, spec *v1alpha1.JobRunSpec, name v1alpha1.OverridableField) {
	switch name {
	case v1alpha1.OverridableConcurrencyKey:
		next.ConcurrencyKey = spec.ConcurrencyKey
	case v1alpha1.OverridableLeaseDurationSeconds:
		next.LeaseDurationSeconds = spec.LeaseDurationSeconds
	case v1alpha1.OverridableActiveDeadlineSeconds:
		next.ActiveDeadlineSeconds = spec.ActiveDeadlineSeconds
	case v1alpha1.OverridableMaxAttempts:
		next.MaxAttempts = spec.MaxAttempts
	case v1alpha1.OverridableOnLeaseExpired:
		next.OnLeaseExpired = spec.OnLeaseExpired
	case v1alpha1.OverridableOnJobLost:
		next.OnJobLost = spec.OnJobLost
	case v1alpha1.OverridableTTLSecondsAfterFinished:
		next.TTLSecondsAfterFinished = spec.TTLSecondsAfterFinished
	case v1alpha1.OverridableCoalesce, v1alpha1.OverridableIdempotencyTTLSeconds, v1alpha1.OverridableIdempotencyRelease:
	}
}
