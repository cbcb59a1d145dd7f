// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// submission is a JobRun as the caller sent it.
type submission struct {
	// raw is the text of the whole object.
	raw []byte
	// run is the decoded object without its status. On UPDATE its metadata has only the labels and annotations. handleCreate adds the
	// generated name later. If the template is known, run only shows that there is one.
	run *v1alpha1.JobRun
	// unnamed means that the caller sent no name.
	unnamed bool
	// triggeredBy is the patch that writes the user into the object, and dropped the one that removes what only the operator sets.
	triggeredBy, dropped []jsonpatch.Operation
	// template is the text of the template, if there is one.
	template json.RawMessage
	// templateElements is the approximate number of fields and items in the template, unless it is known.
	templateElements int
	// spec is the text of the spec. specFields are its fields, once they were asked for.
	spec       json.RawMessage
	specFields map[string]json.RawMessage
	// added are the fields that the completed trigger has and the caller did not send.
	added []definition.Value
	// warnings are what to tell the caller, whatever becomes of the trigger.
	warnings []string
	// passed are the checks that the template has passed before.
	passed checks
}

// newSubmission reads the object of a CREATE.
func newSubmission(raw []byte, known *knownTemplates) (*submission, field.ErrorList) {
	if errs := objectSizeErrors(raw); len(errs) > 0 {
		return nil, errs
	}
	return readSubmission(raw, readMetadata, known.get)
}

// newChange reads the object of an UPDATE. It skips managedFields and status, because they may be large and the webhook
// does not need them. It decodes every template, to compare it with the stored one.
func newChange(raw []byte) (*submission, field.ErrorList) {
	return readSubmission(raw, readStampable, func([]byte) checks { return 0 })
}

// readSubmission splits the object into its parts, checks the limits on their text, and then decodes each part once.
func readSubmission(
	raw []byte, readMetadata func(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList, known func(template []byte) checks,
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
	s := &submission{raw: raw, run: &v1alpha1.JobRun{}}
	if len(sent.Metadata) > 0 {
		if errs := readMetadata(sent.Metadata, &s.run.ObjectMeta); len(errs) > 0 {
			return nil, errs
		}
	}
	if len(sent.Spec) > 0 {
		if errs := s.readSpec(sent.Spec, known); len(errs) > 0 {
			return nil, errs
		}
	}
	return s, nil
}

// readSpec decodes a spec. The template keeps its text until its limits are checked.
func (s *submission) readSpec(spec json.RawMessage, known func(template []byte) checks) field.ErrorList {
	var sent struct {
		v1alpha1.JobRunSpec `json:",inline"`
		Template            json.RawMessage `json:"template"` // It hides the field of JobRunSpec.
	}
	if errs := decode(spec, &sent, field.NewPath("spec")); len(errs) > 0 {
		return errs
	}
	s.run.Spec, s.spec = sent.JobRunSpec, spec
	if len(sent.Template) == 0 || string(sent.Template) == "null" {
		return nil
	}
	s.template, s.passed = sent.Template, known(sent.Template)
	s.run.Spec.Template = &batchv1.JobTemplateSpec{}
	if s.passed.has(decoded) {
		return nil
	}
	template, elements, errs := readTemplate(s.template)
	s.run.Spec.Template, s.templateElements = template, elements
	return errs
}

// readTemplate decodes the template of a run or of a definition, at spec.template, if it is within the limits. It also returns the
// approximate number of fields and items.
func readTemplate(raw json.RawMessage) (template *batchv1.JobTemplateSpec, elements int, errs field.ErrorList) {
	template, elements = &batchv1.JobTemplateSpec{}, countElements(raw)
	path := field.NewPath("spec", "template")
	if elements > maxElements {
		return template, elements, field.ErrorList{field.TooMany(path, elements, maxElements)}
	}
	if errs := quantityErrors(raw); len(errs) > 0 {
		return template, elements, errs
	}
	return template, elements, decode(raw, template, path)
}

// fields returns the text of each field of the spec that the caller sent. Nobody changes what it returns.
func (s *submission) fields() (map[string]json.RawMessage, error) {
	if s.specFields != nil {
		return s.specFields, nil
	}
	err := json.Unmarshal(s.spec, &s.specFields)
	return s.specFields, err
}

// absent returns the values whose fields the caller did not send at all. An empty text or a 0 that was sent stays, and is refused.
func (s *submission) absent(values []definition.Value) []definition.Value {
	sent, err := s.fields()
	if err != nil {
		return values // The caller sent no spec.
	}
	return slices.DeleteFunc(values, func(value definition.Value) bool {
		raw, found := sent[value.Name]
		return found && value.Name != "input" && string(raw) != "null"
	})
}

func readMetadata(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList {
	return decode(metadata, into, field.NewPath("metadata"))
}

// readStampable reads only the labels and annotations. The API server reports errors in them.
func readStampable(metadata json.RawMessage, into *metav1.ObjectMeta) field.ErrorList {
	var sent struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
	if errs := decode(metadata, &sent, nil); len(errs) == 0 {
		into.Labels, into.Annotations = sent.Labels, sent.Annotations
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

// embedded removes the names of the types that readSpec and readDefinition embed.
var embedded = strings.NewReplacer("JobRunSpec.", "", "JobDefinitionSpec.", "")

// decode reads the JSON at path.
func decode(raw []byte, into any, path *field.Path) field.ErrorList {
	err := json.Unmarshal(raw, into)
	if err == nil {
		return nil
	}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) && mismatch.Field != "" {
		path = path.Child(embedded.Replace(mismatch.Field))
	}
	return field.ErrorList{field.Invalid(path, "", err.Error())}
}
