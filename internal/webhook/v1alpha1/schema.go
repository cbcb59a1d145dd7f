// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/config/crd"
)

// schemaValidator applies the schema and the CEL rules of the CRD with the code of the API server.
type schemaValidator struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// schemaValidators are the validators of a whole JobRun, and of one whose template is known to be valid. No rule of the
// CRD outside of the template looks into it.
type schemaValidators struct{ whole, withoutTemplate *schemaValidator }

// loadSchemaValidators makes the validators once, because the CEL rules take long to compile.
var loadSchemaValidators = sync.OnceValues(newSchemaValidators)

func newSchemaValidators() (v schemaValidators, err error) {
	props, err := jobRunSchema()
	if err != nil {
		return v, fmt.Errorf("load the schema of JobRun: %w", err)
	}
	if v.whole, err = newSchemaValidator(props); err != nil {
		return v, err
	}
	props.Properties["spec"].Properties["template"] = apiextensions.JSONSchemaProps{Type: "object"}
	v.withoutTemplate, err = newSchemaValidator(props)
	return v, err
}

func newSchemaValidator(props *apiextensions.JSONSchemaProps) (*schemaValidator, error) {
	structural, err := structuralschema.NewStructural(props)
	if err != nil {
		return nil, fmt.Errorf("build the structural schema of JobRun: %w", err)
	}
	schema, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, fmt.Errorf("build the schema validator of JobRun: %w", err)
	}
	return &schemaValidator{
		structural: structural,
		schema:     schema,
		rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

func jobRunSchema() (*apiextensions.JSONSchemaProps, error) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(crd.JobRuns, definition); err != nil {
		return nil, err
	}
	for _, version := range definition.Spec.Versions {
		if version.Name != v1alpha1.GroupVersion.Version {
			continue
		}
		props := &apiextensions.JSONSchemaProps{}
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, props, nil)
		return props, err
	}
	return nil, fmt.Errorf("no version %s", v1alpha1.GroupVersion.Version)
}

// validate returns the errors that the API server would find in a new JobRun of that name. It ignores the fields that
// the API server drops or the webhook overwrites. The API server has already pruned and defaulted the object.
//
// validate decodes the text a second time. The code of the API server needs the untyped object with the fields that the
// Go types do not know, and validate changes that object. A request is decoded again at most once, and only if its run
// is about to take a key or is invalid.
func (all schemaValidators) validate(ctx context.Context, sent *submission) field.ErrorList {
	v := all.whole
	if sent.passed.has(validated) {
		v = all.withoutTemplate
	}
	object, err := sent.untyped()
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath(""), "", err.Error())}
	}
	delete(object, "status")
	if spec, ok := object["spec"].(map[string]any); ok {
		delete(spec, "admission")
		if admission := admissionForRules(sent.run); admission != nil {
			spec["admission"] = admission
		}
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		metadata["name"] = sent.run.Name
	}
	return v.check(ctx, object)
}

// check returns the errors that the API server would find in a new object.
func (v *schemaValidator) check(ctx context.Context, object map[string]any) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, object, v.schema)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, object)...)
	if len(errs) > 0 {
		return errs
	}
	errs, _ = v.rules.Validate(ctx, nil, v.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return errs
}
