// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// apiServerErrors returns the errors that the API server would find in a new JobRun after the webhook has admitted it.
func (h *Handler) apiServerErrors(ctx context.Context, sent *submission) field.ErrorList {
	run := sent.run
	errs := apivalidation.ValidateObjectMeta(&run.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	if sent.templateElements > maxSchemaElements {
		return errs
	}
	shape, hasShape := sent.shape()
	if hasShape && h.shapes.has(shape) {
		return errs
	}
	if errs = append(errs, h.schema.validate(ctx, sent)...); len(errs) > 0 {
		return errs
	}
	if hasShape {
		h.shapes.add(shape)
	}
	if !sent.passed.has(validated) {
		h.templates.add(sent.template, validated)
	}
	return nil
}

// allErrors returns the errors in a new JobRun, those of its completion included. If there are any, it adds those that the API
// server would find. The API server checks a trigger that is right after the webhook, and the webhook before it takes a key. A trigger
// with spec.represents is checked in any case, because its answer is that of several callers.
func (h *Handler) allErrors(ctx context.Context, sent *submission, completion field.ErrorList) field.ErrorList {
	run := sent.run
	errs := slices.Concat(completion, h.validate(sent))
	if len(errs) == 0 && run.Spec.JobName != "" && run.Spec.Represents == nil {
		return nil
	}
	errs = append(h.apiServerErrors(ctx, sent), errs...)
	if len(errs) == 0 && run.Spec.JobName == "" { // Then there may be no spec to stamp.
		return field.ErrorList{field.Required(field.NewPath("spec", "jobName"), "")}
	}
	return errs
}

// validate returns the errors in a new JobRun that the schema and CEL cannot find or cannot report as clearly.
func (h *Handler) validate(sent *submission) field.ErrorList {
	run := sent.run
	var errs field.ErrorList
	if run.Spec.Input != nil {
		errs = inputErrors(run.Spec.Input.Raw)
	}
	errs = append(errs, nameLengthErrors(run)...)
	errs = append(errs, representsErrors(sent)...)
	if run.Spec.Template == nil || sent.passed.has(decoded) {
		return errs
	}
	ofTemplate := validateTemplate(run.Spec.Template, field.NewPath("spec", "template"))
	if len(ofTemplate) == 0 && sent.templateElements <= maxSchemaElements {
		h.templates.add(sent.template, decoded)
	}
	return append(errs, ofTemplate...)
}

// validateTemplate returns the errors that the schema cannot find and that the Job API would refuse in every case. The
// caller learns of them at once. Any other error fails the run later, with the message of the Job API.
func validateTemplate(template *batchv1.JobTemplateSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	pod := template.Spec.Template.Spec
	path = path.Child("spec", "template", "spec")
	if len(pod.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), "a Job needs at least one container"))
	}
	if p := pod.RestartPolicy; p != corev1.RestartPolicyNever && p != corev1.RestartPolicyOnFailure {
		errs = append(errs, field.NotSupported(path.Child("restartPolicy"), p,
			[]corev1.RestartPolicy{corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure}))
	}
	names := sets.New[string]()
	errs = append(errs, validateContainers(pod.InitContainers, names, path.Child("initContainers"))...)
	return append(errs, validateContainers(pod.Containers, names, path.Child("containers"))...)
}

func validateContainers(containers []corev1.Container, names sets.Set[string], path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range containers {
		at := path.Index(i)
		for _, problem := range validation.IsDNS1123Label(c.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), c.Name, problem))
		}
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names.Insert(c.Name)
		if c.Image == "" {
			errs = append(errs, field.Required(at.Child("image"), fmt.Sprintf("container %q has no image", c.Name)))
		}
	}
	return errs
}
