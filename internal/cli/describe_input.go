// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// inputSchemaOf returns the schema of a definition's input, or nil if it has none.
func inputSchemaOf(d *v1alpha1.JobDefinition) (*apiextensionsv1.JSONSchemaProps, error) {
	if d.Spec.InputSchema == nil || d.Spec.InputSchema.OpenAPIV3Schema == nil {
		return nil, nil
	}
	schema := &apiextensionsv1.JSONSchemaProps{}
	return schema, json.Unmarshal(d.Spec.InputSchema.OpenAPIV3Schema.Raw, schema)
}

// inputRows returns a row for each field of the input, with the fields of a field after it: address, address.city, tags[].
func inputRows(schema *apiextensionsv1.JSONSchemaProps) [][]string {
	if len(schema.Properties) == 0 {
		return fieldRows("(input)", schema, false)
	}
	return propertyRows("", schema)
}

func propertyRows(prefix string, schema *apiextensionsv1.JSONSchemaProps) (rows [][]string) {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		field := schema.Properties[name]
		rows = append(rows, fieldRows(prefix+name, &field, slices.Contains(schema.Required, name))...)
	}
	return rows
}

func fieldRows(path string, schema *apiextensionsv1.JSONSchemaProps, required bool) [][]string {
	requirement := ""
	if required {
		requirement = "yes"
	}
	rows := [][]string{{path, typeText(schema), requirement, jsonText(schema.Default), schema.Description}}
	rows = append(rows, propertyRows(path+".", schema)...)
	if schema.Items != nil && schema.Items.Schema != nil && len(schema.Items.Schema.Properties) > 0 {
		rows = append(rows, propertyRows(path+"[].", schema.Items.Schema)...)
	}
	if more := schema.AdditionalProperties; more != nil && more.Schema != nil && len(more.Schema.Properties) > 0 {
		rows = append(rows, propertyRows(path+".*.", more.Schema)...)
	}
	return rows
}

// typeText returns the type of a field with what bounds its values: "string, at most 40 characters".
func typeText(schema *apiextensionsv1.JSONSchemaProps) string {
	parts := append([]string{typeName(schema)}, bounds(schema)...)
	if schema.Nullable {
		parts = append(parts, "may be null")
	}
	return strings.Join(parts, ", ")
}

func typeName(schema *apiextensionsv1.JSONSchemaProps) string {
	switch {
	case schema.XIntOrString:
		return "integer or string"
	case schema.Type == "array" && schema.Items != nil && schema.Items.Schema != nil:
		return "array of " + typeName(schema.Items.Schema)
	case schema.Type == "object" && schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil:
		return "map of " + typeName(schema.AdditionalProperties.Schema)
	case schema.Type == "":
		return "anything"
	default:
		return schema.Type
	}
}

func bounds(schema *apiextensionsv1.JSONSchemaProps) (parts []string) {
	if len(schema.Enum) > 0 {
		values := make([]string, len(schema.Enum))
		for i := range schema.Enum {
			values[i] = string(schema.Enum[i].Raw)
		}
		parts = append(parts, "one of "+strings.Join(values, " "))
	}
	if schema.Format != "" {
		parts = append(parts, "format "+schema.Format)
	}
	if schema.Pattern != "" {
		parts = append(parts, "matches "+schema.Pattern)
	}
	parts = append(parts, amounts(schema.MinLength, schema.MaxLength, "character")...)
	parts = append(parts, amounts(schema.MinItems, schema.MaxItems, "item")...)
	parts = append(parts, amounts(schema.MinProperties, schema.MaxProperties, "field")...)
	if schema.Minimum != nil {
		parts = append(parts, comparison("at least ", "more than ", schema.ExclusiveMinimum)+decimal(*schema.Minimum))
	}
	if schema.Maximum != nil {
		parts = append(parts, comparison("at most ", "less than ", schema.ExclusiveMaximum)+decimal(*schema.Maximum))
	}
	return parts
}

// amounts returns how many there may be: "1 to 40 characters".
func amounts(least, most *int64, of string) []string {
	switch {
	case least != nil && most != nil:
		return []string{fmt.Sprintf("%d to %s", *least, plural(*most, of))}
	case least != nil:
		return []string{"at least " + plural(*least, of)}
	case most != nil:
		return []string{"at most " + plural(*most, of)}
	default:
		return nil
	}
}

func plural(n int64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

func comparison(inclusive, exclusive string, isExclusive bool) string {
	if isExclusive {
		return exclusive
	}
	return inclusive
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// exampleOf returns an input with the required fields. The user replaces the values.
func exampleOf(schema *apiextensionsv1.JSONSchemaProps) string {
	text, err := json.Marshal(exampleValue(schema))
	if err != nil {
		return "{}"
	}
	return string(text)
}

func exampleValue(schema *apiextensionsv1.JSONSchemaProps) any {
	switch {
	case schema.Default != nil:
		return json.RawMessage(schema.Default.Raw)
	case len(schema.Enum) > 0:
		return json.RawMessage(schema.Enum[0].Raw)
	}
	switch schema.Type {
	case "string":
		return "..."
	case "integer", "number":
		return 0
	case "boolean":
		return false
	case "array":
		return []any{}
	default:
		object := map[string]any{}
		for _, name := range schema.Required {
			field := schema.Properties[name]
			object[name] = exampleValue(&field)
		}
		return object
	}
}
