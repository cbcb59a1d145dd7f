// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// submission is a JobRun as the caller sent it.
type submission struct {
	// raw is the text of the whole object.
	raw []byte
	// run is the decoded object without its status. On UPDATE its metadata has only the labels. handleCreate adds the
	// generated name later.
	run *v1alpha1.JobRun
	// templateElements is the approximate number of fields and items in the template.
	templateElements int
}

// newSubmission reads the object of a CREATE.
func newSubmission(raw []byte) (*submission, field.ErrorList) {
	if errs := objectSizeErrors(raw); len(errs) > 0 {
		return nil, errs
	}
	return readSubmission(raw, readMetadata)
}

// newChange reads the object of an UPDATE. It skips managedFields and status, because they may be large and the webhook
// does not need them.
func newChange(raw []byte) (*submission, field.ErrorList) {
	return readSubmission(raw, readLabels)
}

// readSubmission splits the object into its parts, checks the limits on their text, and then decodes each part once.
func readSubmission(
	raw []byte, readMetadata func(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList,
) (*submission, field.ErrorList) {
	var sent struct {
		Metadata json.RawMessage `json:"metadata"`
		Spec     json.RawMessage `json:"spec"`
	}
	if errs := decode(raw, &sent, nil); len(errs) > 0 {
		return nil, errs
	}
	if len(sent.Spec) > maxBytes {
		return nil, field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
	}
	template := templateOf(sent.Spec)
	s := &submission{raw: raw, run: &v1alpha1.JobRun{}, templateElements: countElements(template)}
	if s.templateElements > maxElements {
		return nil, field.ErrorList{field.TooMany(field.NewPath("spec", "template"), s.templateElements, maxElements)}
	}
	if errs := quantityErrors(template); len(errs) > 0 {
		return nil, errs
	}
	if len(sent.Metadata) > 0 {
		if errs := readMetadata(sent.Metadata, &s.run.ObjectMeta); len(errs) > 0 {
			return nil, errs
		}
	}
	if len(sent.Spec) > 0 {
		if errs := decode(sent.Spec, &s.run.Spec, field.NewPath("spec")); len(errs) > 0 {
			return nil, errs
		}
	}
	return s, nil
}

// templateOf returns the text of the template of a spec. readSubmission needs it to check the limits before it decodes
// the spec.
func templateOf(spec json.RawMessage) json.RawMessage {
	var sent struct {
		Template json.RawMessage `json:"template"`
	}
	if len(spec) == 0 || json.Unmarshal(spec, &sent) != nil {
		return nil // If the spec is not an object, readSubmission reports it when it decodes the spec.
	}
	return sent.Template
}

func readMetadata(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList {
	return decode(metadata, into, field.NewPath("metadata"))
}

// readLabels reads only the labels. The API server reports errors in them.
func readLabels(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList {
	var sent struct {
		Labels map[string]string `json:"labels"`
	}
	if errs := decode(metadata, &sent, nil); len(errs) == 0 {
		into.Labels = sent.Labels
	}
	return nil
}

// decodeStored reads a JobRun that the API server has stored.
func decodeStored(raw []byte) (*v1alpha1.JobRun, field.ErrorList) {
	run := &v1alpha1.JobRun{}
	if errs := decode(raw, run, nil); len(errs) > 0 {
		return nil, errs
	}
	return run, nil
}

// decode reads the JSON at path.
func decode(raw []byte, into any, path *field.Path) field.ErrorList {
	err := json.Unmarshal(raw, into)
	if err == nil {
		return nil
	}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) && mismatch.Field != "" {
		path = path.Child(mismatch.Field)
	}
	return field.ErrorList{field.Invalid(path, "", err.Error())}
}
