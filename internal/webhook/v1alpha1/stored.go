// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// CheckStored returns what a new JobRun of this spec and these labels would be refused for. An earlier version may have stored it when
// a rule did not exist, or the webhook was not called. The content of a template is not looked at, because the API server judges it
// when it gets the Job.
func CheckStored(ctx context.Context, run *v1alpha1.JobRun) (field.ErrorList, error) {
	validators, err := loadSchemaValidators()
	if err != nil {
		return nil, err
	}
	spec := run.Spec
	if spec.Template != nil {
		spec.Template = &batchv1.JobTemplateSpec{}
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.JobRun{Spec: spec})
	if err != nil {
		return nil, fmt.Errorf("convert JobRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	delete(object, "status")
	object["metadata"] = map[string]any{"name": run.Name}
	errs := validators.withoutTemplate.check(ctx, object)
	if run.Spec.Input != nil {
		errs = append(errs, inputErrors(run.Spec.Input.Raw)...)
	}
	return limitErrors(slices.Concat(errs, labelSizeErrors(run.Labels))), nil
}
