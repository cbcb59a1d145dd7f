// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"reflect"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Restore sets what the spec of an update leaves out, and admission had added to the stored spec, to the stored values. So the
// manifest of a trigger can replace the JobRun that it became. A field with another value than the stored one stays as it is.
//
// Every JobRun gets the fields of BuiltIns. If a definition completed it, it gets the other fields that a definition may give,
// too, and the missing parts of the input. Nothing tells which of these the trigger had: if it had one, and the update removes
// it, Restore sets it again.
func Restore(spec, stored *v1alpha1.JobRunSpec) {
	if stored.Admission == nil || stored.Admission.Definition == nil {
		restoreFields(stamped, spec, stored)
		return
	}
	restoreFields(fields, spec, stored)
	if spec.IdempotencyKey == "" {
		spec.IdempotencyKey = stored.IdempotencyKey
	}
	if isPartOf(spec.Input, stored.Input) {
		spec.Input = stored.Input
	}
}

func restoreFields(of []fieldOf, spec, stored *v1alpha1.JobRunSpec) {
	for _, f := range of {
		if value := f.get(stored); value != nil && f.get(spec) == nil {
			f.set(spec, value)
		}
	}
}

// isPartOf reports whether defaults of a schema may have made an input of what was sent, and both differ.
func isPartOf(sent, stored *apiextensionsv1.JSON) bool {
	part, err := decodeNumbers(sent)
	if err != nil {
		return false
	}
	whole, err := decodeNumbers(stored)
	return err == nil && !reflect.DeepEqual(part, whole) && completes(whole, part)
}

// completes reports whether whole has all that part has. A null of part is a value that part leaves out, because a default may
// take its place.
func completes(whole, part any) bool {
	switch part := part.(type) {
	case nil:
		return true
	case map[string]any:
		object, ok := whole.(map[string]any)
		return ok && completesObject(object, part)
	case []any:
		array, ok := whole.([]any)
		return ok && slices.EqualFunc(array, part, completes)
	default:
		return whole == part
	}
}

func completesObject(whole, part map[string]any) bool {
	for name, value := range part {
		if of, found := whole[name]; !found || !completes(of, value) {
			return false
		}
	}
	return true
}
