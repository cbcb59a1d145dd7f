// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"sync"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/config/crd"
)

type crdSchema struct {
	structural *structuralschema.Structural
	values     validation.SchemaValidator
	rules      *cel.Validator
}

// definitionSchema validates JobDefinitions by the CRD, with the code of the API server.
var definitionSchema = sync.OnceValues(func() (*crdSchema, error) {
	definition := apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(crd.JobDefinitions, &definition); err != nil {
		return nil, err
	}
	props := &apiextensions.JSONSchemaProps{}
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, props, nil)
	if err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(props)
	if err != nil {
		return nil, err
	}
	values, _, err := validation.NewSchemaValidator(props)
	return &crdSchema{structural, values, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, err
})

// complaints returns the errors of the API server about a new JobDefinition, and the fields that it would drop.
func complaints(t *testing.T, definition *unstructured.Unstructured) (all []string) {
	t.Helper()
	schema, err := definitionSchema()
	if err != nil {
		t.Fatal(err)
	}
	object := definition.DeepCopy().Object
	for _, dropped := range pruning.PruneWithOptions(object, schema.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		all = append(all, "unknown field "+dropped)
	}
	errs := validation.ValidateCustomResource(nil, object, schema.values)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, schema.structural, object)...)
	ofRules, _ := schema.rules.Validate(t.Context(), nil, schema.structural, object, nil, celconfig.RuntimeCELCostBudget)
	for _, err := range append(errs, ofRules...) {
		all = append(all, err.Error())
	}
	return all
}

// The check must not pass whatever it is given.
func TestTheSchemaRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown field": "spec: {scedules: []}",
		"a wrong value":    "spec: {successfulRunsHistoryLimit: 10001}",
		"a rule":           "spec: {schedules: [{name: cron, schedule: TZ=UTC @daily}]}",
		"a name twice":     `spec: {schedules: [{name: cron, schedule: "@daily"}, {name: cron, schedule: "@weekly"}]}`,
	} {
		definition := parse(t, "apiVersion: batch.jobrun.dev/v1alpha1\nkind: JobDefinition\nmetadata: {name: a}\n"+text)
		if got := complaints(t, definition); len(got) != 1 {
			t.Errorf("%s: complaints %q", name, got)
		}
	}
}
