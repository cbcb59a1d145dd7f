// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// DefinitionPath is the URL path of the handler of JobDefinitions.
const DefinitionPath = "/validate-batch-jobrun-dev-v1alpha1-jobdefinition"

var definitionKind = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "JobDefinition"}

// DefinitionHandler answers the creates and updates of JobDefinitions. The API server has checked the schema and the CEL rules of
// the CRD before.
type DefinitionHandler struct{ rights rights }

// NewDefinitionHandler makes a DefinitionHandler.
func NewDefinitionHandler(o Options) *DefinitionHandler { return &DefinitionHandler{newRights(o)} }

// Handle refuses a definition by which no trigger could be completed. It passes every update that leaves the spec as it is, so that
// a definition of an older version can be migrated, labelled and deleted.
func (h *DefinitionHandler) Handle(ctx context.Context, req admission.Request) admission.Response {
	switch req.Operation {
	case admissionv1.Create:
	case admissionv1.Update:
		if sameSpec(req.Object.Raw, req.OldObject.Raw) {
			return admission.Allowed("")
		}
	default:
		return admission.Allowed("")
	}
	sent, errs := readDefinition(req.Object.Raw)
	if len(errs) == 0 {
		sent.Name, sent.Namespace = req.Name, req.Namespace
		if denied := h.rights.checkDefinition(ctx, req, storedDefinition(req), sent); denied != nil {
			return refused(denied)
		}
		errs = definitionErrors(sent)
	}
	if len(errs) > 0 {
		return refused(apierrors.NewInvalid(definitionKind, req.Name, limitErrors(errs)))
	}
	return admission.Allowed("").WithWarnings(variableWarnings(sent)...)
}

// storedDefinition returns the definition before an update; nil if there is none, or if it cannot be read.
func storedDefinition(req admission.Request) *v1alpha1.JobDefinition {
	if len(req.OldObject.Raw) == 0 {
		return nil
	}
	old, errs := readDefinition(req.OldObject.Raw)
	if len(errs) > 0 {
		return nil
	}
	return old
}

// variableWarnings tells which fields of the input get no environment variable of their own.
func variableWarnings(d *v1alpha1.JobDefinition) []string {
	var schema struct {
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
	}
	if d.Spec.Template == nil || d.Spec.InputSchema == nil || json.Unmarshal(d.Spec.InputSchema.OpenAPIV3Schema.Raw, &schema) != nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(schema.Properties))
	without := executor.WithoutVariable(names)
	var warnings []string
	for _, name := range without {
		warnings = append(warnings, fmt.Sprintf("the input field %q gets no variable %s...: its name gives no legal one, or that of another field; "+
			"%s has the field", name, v1alpha1.EnvInputPrefix, v1alpha1.EnvInput))
	}
	named := slices.DeleteFunc(names, func(name string) bool {
		_, none := slices.BinarySearch(without, name)
		return none || schema.Properties[name].Type == "object" || schema.Properties[name].Type == "array"
	})
	if len(named) > executor.MaxInputVariables {
		warnings = append(warnings, fmt.Sprintf("an input with all fields of the inputSchema gets no variables %s... for the %d fields from %q on: "+
			"of each input, the first %d by name get one; %s has all fields", v1alpha1.EnvInputPrefix, len(named)-executor.MaxInputVariables,
			named[executor.MaxInputVariables], executor.MaxInputVariables, v1alpha1.EnvInput))
	}
	return warnings
}

func sameSpec(a, b []byte) bool {
	var first, second struct {
		Spec json.RawMessage `json:"spec"`
	}
	if json.Unmarshal(a, &first) != nil || json.Unmarshal(b, &second) != nil {
		return false
	}
	if bytes.Equal(first.Spec, second.Spec) {
		return true
	}
	var left, right any
	return utiljson.Unmarshal(first.Spec, &left) == nil && utiljson.Unmarshal(second.Spec, &right) == nil && reflect.DeepEqual(left, right)
}

// readDefinition decodes a definition within the limits that hold for a trigger.
func readDefinition(raw []byte) (*v1alpha1.JobDefinition, field.ErrorList) {
	var sent struct {
		Spec struct {
			v1alpha1.JobDefinitionSpec `json:",inline"`
			Template                   json.RawMessage `json:"template"` // It hides the field of JobDefinitionSpec.
		} `json:"spec"`
	}
	if len(raw) > maxBytes {
		return nil, field.ErrorList{field.TooLong(field.NewPath("spec"), "", maxBytes)}
	}
	if errs := decode(raw, &sent, nil); len(errs) > 0 {
		return nil, errs
	}
	found := &v1alpha1.JobDefinition{Spec: sent.Spec.JobDefinitionSpec}
	if len(sent.Spec.Template) == 0 || string(sent.Spec.Template) == "null" {
		return found, nil
	}
	template, _, errs := readTemplate(sent.Spec.Template)
	found.Spec.Template = template
	return found, errs
}

// definitionErrors returns everything that is wrong with a definition.
func definitionErrors(d *v1alpha1.JobDefinition) field.ErrorList {
	compiled, errs := definition.Compile(d)
	spec := field.NewPath("spec")
	if d.Spec.Template != nil {
		errs = append(errs, validateTemplate(d.Spec.Template, spec.Child("template"))...)
	}
	for i := range d.Spec.Schedules {
		errs = append(errs, scheduleErrors(d, compiled, i, spec.Child("schedules").Index(i))...)
	}
	return append(errs, definition.CompileReceivers(d)...)
}

// CheckDefinition returns the reason and the message of the condition Ready of a definition that is stored. The webhook refuses
// one that is not valid, but it may not have been called, and a later version may check more.
func CheckDefinition(d *v1alpha1.JobDefinition) (reason, message string) {
	errs := definitionErrors(d)
	if len(errs) == 0 {
		return v1alpha1.ReasonDefinitionValid, ""
	}
	switch first := errs[0].Field; {
	case strings.HasPrefix(first, "spec.inputSchema"):
		reason = v1alpha1.ReasonInvalidInputSchema
	case strings.HasSuffix(first, "Expression"):
		reason = v1alpha1.ReasonInvalidExpression
	case strings.HasPrefix(first, "spec.schedules"):
		reason = v1alpha1.ReasonInvalidSchedule
	default:
		reason = v1alpha1.ReasonInvalidDefinition
	}
	return reason, limitErrors(errs).ToAggregate().Error()
}

// scheduleErrors returns what is wrong with a schedule. compiled is nil if the definition does not compile.
func scheduleErrors(d *v1alpha1.JobDefinition, compiled *definition.Definition, i int, path *field.Path) field.ErrorList {
	s := &d.Spec.Schedules[i]
	errs := schedule.Validate(*s, path)
	if s.Input != nil {
		errs = append(errs, valueErrors(s.Input.Raw, v1alpha1.MaxInputBytes, path.Child("input"))...)
	}
	if compiled == nil || len(errs) > 0 {
		return errs
	}
	// A schedule whose trigger would be refused never fires.
	trigger := &v1alpha1.JobRunSpec{JobName: d.Name, Input: s.Input}
	_, refusals := compiled.Complete(trigger, map[string]string{v1alpha1.LabelSchedule: s.Name})
	return append(errs, refusalsAt(refusals, path.Child("input"))...)
}

// refusalsAt moves the errors about a schedule's trigger to the input of the schedule, because nothing else of the trigger can
// be wrong.
func refusalsAt(refusals field.ErrorList, input *field.Path) field.ErrorList {
	const prefix = "spec.input"
	for _, err := range refusals {
		if len(err.Field) >= len(prefix) && err.Field[:len(prefix)] == prefix {
			err.Field = input.String() + err.Field[len(prefix):]
			continue
		}
		err.Field, err.BadValue = input.String(), ""
	}
	return refusals
}
