// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// complete completes a trigger by the definition of its job, and sets what executes the run in spec.admission. sent.added then has
// what the stamp must write. Field errors mean that the trigger is refused; the other error means that it cannot be completed now.
func (h *Handler) complete(ctx context.Context, sent *submission) (field.ErrorList, error) {
	run, before := sent.run, sent.run.Spec
	run.Spec.Admission = nil
	run.Spec.Admission = &v1alpha1.Admission{Executor: run.Executor()}
	errs, err := h.define(ctx, sent)
	if err != nil {
		return nil, err
	}
	definition.BuiltIns(&run.Spec)
	sent.added = sent.absent(definition.Added(&before, &run.Spec))
	return errs, nil
}

func (h *Handler) define(ctx context.Context, sent *submission) (field.ErrorList, error) {
	run := sent.run
	if len(validation.IsDNS1123Label(run.Spec.JobName)) > 0 || run.Spec.Input != nil && len(inputErrors(run.Spec.Input.Raw)) > 0 {
		return nil, nil // validate and the schema report it.
	}
	inline := run.Spec.Template != nil
	job := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.JobName}
	found, err := h.definitions.find(ctx, job, inline)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the definition of the job could not be read, try again: %w", err)
	case found != nil && !h.defines():
		return nil, fmt.Errorf("JobDefinition %s cannot complete the trigger yet: a replica of the operator is of an older version, "+
			"and would take the run for a worker's; nothing is reserved; try again when the upgrade has ended", found.Name)
	case found != nil:
		return h.completeBy(found, sent), nil
	case inline || h.definitions.cached == nil:
		return nil, nil
	case h.denyUndefined:
		return field.ErrorList{field.NotFound(jobNamePath, run.Spec.JobName)}, nil
	}
	advice, err := h.definitions.advise(ctx, job)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the JobDefinitions for a warning")
	}
	sent.warnings = append(sent.warnings, advice...)
	return nil, nil
}

var jobNamePath = field.NewPath("spec", "jobName")

func (h *Handler) completeBy(found *v1alpha1.JobDefinition, sent *submission) field.ErrorList {
	run := sent.run
	compiled := h.definitions.compile(found)
	problem := ""
	if len(compiled.errs) > 0 {
		problem = compiled.errs.ToAggregate().Error()
	} else if ready := found.NotReady(); ready != nil {
		problem = ready.Message
	}
	if problem != "" {
		return field.ErrorList{field.Invalid(jobNamePath, run.Spec.JobName, fmt.Sprintf("JobDefinition %s is not valid: %s", found.Name, problem))}
	}
	admission := &v1alpha1.Admission{Executor: run.Executor(), Definition: found.Reference()}
	if run.Spec.Template == nil {
		admission.Executor = found.Executor()
	}
	spec, errs := compiled.Complete(&run.Spec, run.CallersLabels())
	spec.Admission = admission
	run.Spec = spec
	return errs
}
