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

// submission is a JobRun as it was sent: its text, and what was read of it, once.
type submission struct {
	// raw is the text of the whole object.
	raw []byte
	// run is the object without its status. Of the metadata of an UPDATE it has the
	// labels alone. The name that the webhook generates is filled in later.
	run *v1alpha1.JobRun
	// templateElements is how many fields and items the template has, about.
	templateElements int
}

// newSubmission reads the object of a CREATE. What cannot be read is invalid, and the
// errors say where.
func newSubmission(raw []byte) (*submission, field.ErrorList) {
	if errs := objectSizeErrors(raw); len(errs) > 0 {
		return nil, errs
	}
	return readSubmission(raw, readMetadata)
}

// newChange reads the object of an UPDATE. Its managedFields and its status may be large,
// and nothing is decided on them, so they are not read.
func newChange(raw []byte) (*submission, field.ErrorList) {
	return readSubmission(raw, readLabels)
}

// readSubmission splits the object into its parts, checks the limits on their text, and
// then decodes each part once.
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
	if errs := specSizeErrors(sent.Spec); len(errs) > 0 {
		return nil, errs
	}
	template := templateOf(sent.Spec)
	s := &submission{raw: raw, run: &v1alpha1.JobRun{}, templateElements: countElements(template)}
	if errs := templateSizeErrors(s.templateElements); len(errs) > 0 {
		return nil, errs
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

// templateOf returns the text of the template of a spec. It is taken out by itself because
// its limits are checked before the spec is decoded.
func templateOf(spec json.RawMessage) json.RawMessage {
	var sent struct {
		Template json.RawMessage `json:"template"`
	}
	if len(spec) == 0 || json.Unmarshal(spec, &sent) != nil {
		return nil // A spec that is no object is reported when it is decoded.
	}
	return sent.Template
}

func readMetadata(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList {
	return decode(metadata, into, field.NewPath("metadata"))
}

// readLabels reads the labels alone. What is wrong with them is left to the API server.
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

// decode reads JSON that stands at path.
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
