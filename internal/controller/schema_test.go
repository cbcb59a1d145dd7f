// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/config/crd"
)

type crdSchema struct {
	structural *structuralschema.Structural
	values     validation.SchemaValidator
	rules      *cel.Validator
}

// jobRunSchema validates JobRuns by the CRD, with the code of the API server.
var jobRunSchema = sync.OnceValue(func() crdSchema {
	var definition apiextensionsv1.CustomResourceDefinition
	must(yaml.UnmarshalStrict(crd.JobRuns, &definition))
	var props apiextensions.JSONSchemaProps
	must(apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		definition.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil))
	structural, err := structuralschema.NewStructural(&props)
	must(err)
	values, _, err := validation.NewSchemaValidator(&props)
	must(err)
	return crdSchema{structural, values, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
})

// validateStatus returns the error with which the API server would refuse an update of the status.
func validateStatus(old, next *v1alpha1.JobRun) error {
	o, n := untyped(old), untyped(next)
	s := jobRunSchema()
	errs := validation.ValidateCustomResource(nil, n, s.values)
	celErrs, _ := s.rules.Validate(context.Background(), nil, s.structural, n, o, celconfig.RuntimeCELCostBudget)
	if errs = append(errs, celErrs...); len(errs) > 0 {
		return fmt.Errorf("the API server refuses: %w", errs.ToAggregate())
	}
	return nil
}

func untyped(run *v1alpha1.JobRun) map[string]any {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(run)
	must(err)
	object["apiVersion"], object["kind"] = v1alpha1.GroupVersion.String(), "JobRun"
	return object
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
