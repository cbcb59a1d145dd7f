// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/config/crd"
)

// fields returns a line for each field of JobRun, JobDefinition and RunKey, without those of a Job's template.
func fields() ([]string, error) {
	var lines []string
	for _, manifest := range [][]byte{crd.JobRuns, crd.JobDefinitions, crd.RunKeys} {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(manifest, &definition); err != nil {
			return nil, err
		}
		schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, part := range []string{"spec", "status"} {
			path := strings.ToLower(definition.Spec.Names.Kind) + "." + part
			lines = append(lines, fieldsIn(path, schema.Properties[part])...)
		}
	}
	return lines, nil
}

// fieldsIn returns a line for each field below a path.
func fieldsIn(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	if schema.Items != nil && schema.Items.Schema != nil {
		schema = *schema.Items.Schema
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		field, below := schema.Properties[name], path+"."+name
		lines = append(lines, fmt.Sprintf("`%s` (%s): %s", below, typeOf(field), oneLine(field.Description)))
		if name != "template" {
			lines = append(lines, fieldsIn(below, field)...)
		}
	}
	return lines
}

func typeOf(field apiextensionsv1.JSONSchemaProps) string {
	if field.Type == "" {
		return "any JSON value"
	}
	return field.Type
}
