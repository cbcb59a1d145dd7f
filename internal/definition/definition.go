// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"cmp"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var (
	specPath  = field.NewPath("spec")
	inputPath = specPath.Child("input")
)

// Definition is a compiled JobDefinition. It is safe for concurrent use.
type Definition struct {
	name           string
	template       bool
	defaults       v1alpha1.JobRunDefaults
	overridable    []v1alpha1.OverridableField
	schema         *inputSchema
	concurrencyKey *expression
	idempotencyKey *expression
}

// Compile compiles the schema and the expressions of a JobDefinition. The errors name the fields of the JobDefinition. Compile
// may take some milliseconds, so keep what it returns. It keeps no reference to the JobDefinition.
func Compile(from *v1alpha1.JobDefinition) (*Definition, field.ErrorList) {
	d := &Definition{name: from.Name, template: from.Spec.Template != nil, overridable: slices.Clone(from.Spec.Overridable)}
	if from.Spec.Defaults != nil {
		d.defaults = *from.Spec.Defaults.DeepCopy()
	}
	if from.Spec.InputSchema != nil {
		var errs field.ErrorList
		if d.schema, errs = newInputSchema(from.Spec.InputSchema.OpenAPIV3Schema, specPath.Child("inputSchema", "openAPIV3Schema")); len(errs) > 0 {
			return nil, errs // The expressions are typed by the schema.
		}
	}
	compiler := &compiler{schema: d.schema}
	d.concurrencyKey = compiler.compile("concurrencyKeyExpression", from.Spec.ConcurrencyKeyExpression)
	d.idempotencyKey = compiler.compile("idempotencyKeyExpression", from.Spec.IdempotencyKeyExpression)
	if len(compiler.errs) > 0 {
		return nil, compiler.errs
	}
	return d, nil
}

// Complete returns the spec of a trigger as its definition completes it. labels are the labels of the trigger that the
// webhook does not stamp. With v1alpha1.LabelReceiver, it is the trigger of a receiver, which has defaults of its own. The errors name the fields of the JobRun. Complete changes neither argument. A completed trigger is
// complete: completed again, it stays as it is.
func (d *Definition) Complete(trigger *v1alpha1.JobRunSpec, labels map[string]string) (v1alpha1.JobRunSpec, field.ErrorList) {
	spec := *trigger
	var errs field.ErrorList
	if d.template && spec.Template != nil {
		errs = append(errs, field.Forbidden(specPath.Child("template"), fmt.Sprintf("JobDefinition %s has the template of this job", d.name)))
	}
	input, ofInput := d.completeInput(spec.Input)
	if errs = append(errs, ofInput...); len(ofInput) == 0 {
		spec.Input = input.json
		errs = append(errs, d.completeKeys(&spec, input.value, labels)...)
	}
	return spec, append(errs, d.completeFields(&spec, d.defaultsFor(labels))...)
}

// defaultsFor returns the defaults of a trigger. The id of a delivery is remembered for a day, unless its run fails: who then sends
// the delivery again wants it to execute.
func (d *Definition) defaultsFor(labels map[string]string) *v1alpha1.JobRunDefaults {
	if labels[v1alpha1.LabelReceiver] == "" {
		return &d.defaults
	}
	defaults := d.defaults
	defaults.IdempotencyRelease = cmp.Or(defaults.IdempotencyRelease, v1alpha1.IdempotencyReleaseOnFailure)
	defaults.IdempotencyTTLSeconds = cmp.Or(defaults.IdempotencyTTLSeconds, v1alpha1.ReceiverIdempotencyTTLSeconds)
	return &defaults
}

// input is a completed input.
type input struct {
	// json is nil without an input.
	json *apiextensionsv1.JSON
	// value is the decoded JSON.
	value any
}

func (d *Definition) completeInput(sent *apiextensionsv1.JSON) (input, field.ErrorList) {
	if d.schema != nil {
		return d.schema.complete(sent)
	}
	value, err := decode(sent)
	if err != nil {
		return input{}, field.ErrorList{field.Invalid(inputPath, "", err.Error())}
	}
	if d.concurrencyKey != nil || d.idempotencyKey != nil {
		value = sorted(value)
	}
	return input{sent, value}, nil
}

// completeKeys sets the keys that expressions give. A trigger may bring its own idempotencyKey.
func (d *Definition) completeKeys(spec *v1alpha1.JobRunSpec, input any, labels map[string]string) field.ErrorList {
	var errs field.ErrorList
	if d.concurrencyKey != nil {
		path := specPath.Child("concurrencyKey")
		key, problem := d.concurrencyKey.key(input, labels)
		switch sent := spec.ConcurrencyKey; {
		case problem != "":
			errs = append(errs, field.Invalid(path, sent, d.concurrencyKey.says(d.name, problem)))
		case sent != "" && sent != key:
			errs = append(errs, field.Invalid(path, sent, d.concurrencyKey.says(d.name, fmt.Sprintf("gives %q", key))))
		}
		spec.ConcurrencyKey = key
	}
	if d.idempotencyKey != nil && spec.IdempotencyKey == "" {
		key, problem := d.idempotencyKey.key(input, labels)
		if problem != "" {
			errs = append(errs, field.Invalid(specPath.Child("idempotencyKey"), "", d.idempotencyKey.says(d.name, problem)))
		}
		spec.IdempotencyKey = key
	}
	return errs
}

// completeFields sets the fields that the trigger leaves to the definition, and reports those that the definition does not leave
// to the trigger.
func (d *Definition) completeFields(spec *v1alpha1.JobRunSpec, defaults *v1alpha1.JobRunDefaults) field.ErrorList {
	var errs field.ErrorList
	for _, f := range fields {
		if f.name == v1alpha1.OverridableConcurrencyKey && d.concurrencyKey != nil {
			continue
		}
		sent, given := f.get(spec), f.given(defaults)
		switch {
		case sent == nil && given != nil && f.applies(spec):
			f.set(spec, given)
		case sent == nil || slices.Contains(d.overridable, f.name):
		case given != nil && sent != given:
			errs = append(errs, field.Invalid(specPath.Child(string(f.name)), sent,
				fmt.Sprintf("JobDefinition %s sets it to %v, and its overridable does not list it", d.name, given)))
		case given == nil && sent != f.builtIn:
			errs = append(errs, field.Forbidden(specPath.Child(string(f.name)), fmt.Sprintf("the overridable of JobDefinition %s does not list it", d.name)))
		}
	}
	return errs
}
