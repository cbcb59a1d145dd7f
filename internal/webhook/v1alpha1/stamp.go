// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/text"
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
	ops := append(s.stampLabels(labels), s.triggeredBy...)
	ops = append(ops, s.dropped...)
	ops = append(ops, addFields(s.added)...)
	if admission.Disposition != v1alpha1.DispositionCreated {
		ops = append(ops, s.untrack()...)
	}
	ops = append(ops, jsonpatch.NewOperation("add", "/spec/admission", admission))
	if s.unnamed {
		ops = append(ops, jsonpatch.NewOperation("add", "/metadata/name", run.Name))
	}
	return ops
}

// untrack returns the patch that removes the managedFields of a receipt, which are more than a third of its bytes. The
// API server then does not track who writes which field of it, until a tool applies it. A receipt that a tool applied
// keeps them, because that tool reads them.
func (s *submission) untrack() []jsonpatch.Operation {
	_, applied := s.run.Annotations[corev1.LastAppliedConfigAnnotation]
	applied = applied || slices.ContainsFunc(s.run.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Operation == metav1.ManagedFieldsOperationApply
	})
	if applied || len(s.run.ManagedFields) == 0 {
		return nil
	}
	return []jsonpatch.Operation{jsonpatch.NewOperation("remove", "/metadata/managedFields", nil)}
}

// addFields returns the patch that sets fields of the spec.
func addFields(values []definition.Value) []jsonpatch.Operation {
	ops := make([]jsonpatch.Operation, 0, len(values))
	for _, value := range values {
		ops = append(ops, jsonpatch.NewOperation("add", "/spec/"+value.Name, value.Value))
	}
	return ops
}

// setTriggeredBy makes the annotation of the user part of the run, so that it counts for the limits on annotations. stamp writes
// it into the object. The API server always knows a name.
func (s *submission) setTriggeredBy(userName string) {
	want := map[string]string{}
	if userName != "" {
		want[v1alpha1.AnnotationTriggeredBy] = text.Cut(userName, v1alpha1.MaxTriggeredByBytes)
	}
	s.triggeredBy = s.stampAnnotations(want)
	if s.run.Annotations == nil {
		s.run.Annotations = map[string]string{}
	}
	delete(s.run.Annotations, v1alpha1.AnnotationTriggeredBy)
	maps.Copy(s.run.Annotations, want)
}

// dropLabel removes the label of a schedule, which only the operator sets, or that of a receiver, which only the gateway sets. With
// the first one, a trigger of somebody else could take the name and the place of a time of a schedule, which would then start
// nothing. With the second one, it would get the defaults of a receiver.
func (s *submission) dropLabel(name string) {
	if _, has := s.run.Labels[name]; !has {
		return
	}
	delete(s.run.Labels, name)
	s.dropped = append(s.dropped, jsonpatch.NewOperation("remove", "/metadata/labels/"+strings.ReplaceAll(name, "/", "~1"), nil))
}

// stampAnnotations returns the patch that sets the stamped annotations to want.
func (s *submission) stampAnnotations(want map[string]string) []jsonpatch.Operation {
	if len(want) == 0 && s.run.Annotations == nil {
		return nil
	}
	return stampMap("/metadata/annotations", s.run.Annotations, want, v1alpha1.StampedAnnotations)
}

// stampLabels returns the patch that sets the stamped labels to want.
func (s *submission) stampLabels(want map[string]string) []jsonpatch.Operation {
	return stampMap("/metadata/labels", s.run.Labels, want, v1alpha1.StampedLabels)
}

// stampMap returns the patch that sets the stamped labels or annotations of want, and removes those that are not in want. have
// are those that the caller sent, and path is where they are.
func stampMap(path string, have, want map[string]string, stamped []string) []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	if have == nil { // The caller sent no such field. An empty field is decoded as an empty map.
		ops = append(ops, jsonpatch.NewOperation("add", path, map[string]string{}))
	}
	for _, name := range stamped {
		at := path + "/" + strings.ReplaceAll(name, "/", "~1")
		current, has := have[name]
		value, wanted := want[name]
		switch {
		case wanted && (!has || current != value):
			ops = append(ops, jsonpatch.NewOperation("add", at, value))
		case !wanted && has:
			ops = append(ops, jsonpatch.NewOperation("remove", at, nil))
		}
	}
	return ops
}
