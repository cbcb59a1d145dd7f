// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// stamp returns the patch that writes name, labels, admission and what completes the trigger into the object, and changes nothing
// else. A patch made
// from the decoded object would also rewrite the caller's resource quantities, such as 1000m.
func (s *submission) stamp(admission v1alpha1.Admission) []jsonpatch.Operation {
	run := s.run
	labels := map[string]string{
		v1alpha1.LabelJobName:     run.Spec.JobName,
		v1alpha1.LabelDisposition: strings.ToLower(string(admission.Disposition)),
		v1alpha1.LabelExecutor:    strings.ToLower(string(admission.Executor)),
	}
	if run.Spec.ConcurrencyKey != "" {
		labels[v1alpha1.LabelKey] = v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
	}
	ops := append(s.stampLabels(labels), addFields(s.added)...)
	ops = append(ops, jsonpatch.NewOperation("add", "/spec/admission", admission))
	if s.unnamed {
		ops = append(ops, jsonpatch.NewOperation("add", "/metadata/name", run.Name))
	}
	return ops
}

// addFields returns the patch that sets fields of the spec.
func addFields(values []definition.Value) []jsonpatch.Operation {
	ops := make([]jsonpatch.Operation, 0, len(values))
	for _, value := range values {
		ops = append(ops, jsonpatch.NewOperation("add", "/spec/"+value.Name, value.Value))
	}
	return ops
}

// stampLabels returns the patch that sets the labels of want, and removes the stamped labels that are not in want.
func (s *submission) stampLabels(want map[string]string) []jsonpatch.Operation {
	have := s.run.Labels
	var ops []jsonpatch.Operation
	if have == nil { // The caller sent no labels field. An empty labels field is decoded as an empty map.
		ops = append(ops, jsonpatch.NewOperation("add", "/metadata/labels", map[string]string{}))
	}
	for _, name := range v1alpha1.StampedLabels {
		path := "/metadata/labels/" + strings.ReplaceAll(name, "/", "~1")
		current, has := have[name]
		value, wanted := want[name]
		switch {
		case wanted && (!has || current != value):
			ops = append(ops, jsonpatch.NewOperation("add", path, value))
		case !wanted && has:
			ops = append(ops, jsonpatch.NewOperation("remove", path, nil))
		}
	}
	return ops
}
