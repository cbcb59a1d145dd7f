// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"bytes"
	"encoding/json"
	"reflect"

	"gomodules.xyz/jsonpatch/v2"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// handleUpdate restores the stamps and what completed the trigger, and refuses a changed template, input or represents. CEL cannot
// compare these: a typed client may render an equal template differently, and CEL does not see an untyped input. It also refuses to
// cancel what stands for several triggers.
func (h *Handler) handleUpdate(req admission.Request) admission.Response {
	old, errs := decodeStored(req.OldObject.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	sent, errs := newChange(req.Object.Raw)
	if len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	run := sent.run
	if run.Spec.JobName == "" { // An object without a spec cannot be stamped.
		return invalid(req.Name, field.ErrorList{field.Required(field.NewPath("spec", "jobName"), "")})
	}
	if refusal := checkCancel(old, run); refusal != nil {
		return refused(refusal)
	}
	before := run.Spec
	definition.Restore(&run.Spec, &old.Spec)
	if errs := immutable(old, run); len(errs) > 0 {
		return invalid(req.Name, errs)
	}
	restored := addFields(sent.absent(definition.Added(&before, &run.Spec)))
	return admission.Patched("", append(sent.keepStamped(old), restored...)...)
}

// isImmutable ends the refusal of a changed field. The CEL rules of the CRD end theirs in the same way.
const isImmutable = " is immutable: a JobRun is one execution; for another one, use a new name or metadata.generateName"

func immutable(old, run *v1alpha1.JobRun) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if !apiequality.Semantic.DeepEqual(old.Spec.Template, run.Spec.Template) {
		errs = append(errs, field.Forbidden(spec.Child("template"), "template"+isImmutable))
	}
	if !sameInput(old.Spec.Input, run.Spec.Input) {
		errs = append(errs, field.Forbidden(spec.Child("input"), "input"+isImmutable))
	}
	if !sameRepresents(old.Spec.Represents, run.Spec.Represents) {
		errs = append(errs, field.Forbidden(representsPath, "represents"+isImmutable))
	}
	return errs
}

// keepStamped returns the patch that restores the stamps. A user can then replace or apply a manifest without them.
func (s *submission) keepStamped(old *v1alpha1.JobRun) []jsonpatch.Operation {
	ops := s.stampLabels(only(v1alpha1.StampedLabels, old.Labels))
	ops = append(ops, s.stampAnnotations(only(v1alpha1.StampedAnnotations, old.Annotations))...)
	switch {
	case apiequality.Semantic.DeepEqual(old.Spec.Admission, s.run.Spec.Admission):
	case old.Spec.Admission == nil:
		ops = append(ops, jsonpatch.NewOperation("remove", "/spec/admission", nil))
	default:
		ops = append(ops, jsonpatch.NewOperation("add", "/spec/admission", old.Spec.Admission))
	}
	return ops
}

// only returns the labels or annotations with these names.
func only(names []string, all map[string]string) map[string]string {
	kept := map[string]string{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			kept[name] = value
		}
	}
	return kept
}

// sameInput reports whether two inputs are the same JSON value. null equals a missing input.
func sameInput(a, b *apiextensionsv1.JSON) bool {
	return reflect.DeepEqual(inputValue(a), inputValue(b))
}

func inputValue(input *apiextensionsv1.JSON) any {
	if input == nil || len(input.Raw) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(input.Raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return string(input.Raw)
	}
	return value
}
