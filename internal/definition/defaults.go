// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// schemaDefault is a default inside a schema.
type schemaDefault struct {
	value any
	// of validates the value.
	of *node
	// path is where the default is in the JobDefinition.
	path *field.Path
}

// defaultsIn returns the defaults of a schema and of those inside it. n validates the values of the schema.
func defaultsIn(schema *apiextensions.JSONSchemaProps, n *node, path *field.Path) (found []schemaDefault) {
	if schema.Default != nil {
		found = append(found, schemaDefault{*schema.Default, n, path.Child("default")})
	}
	for name, property := range schema.Properties {
		found = append(found, defaultsIn(&property, n.properties[name], path.Child("properties").Key(name))...)
	}
	if n.items != nil {
		found = append(found, defaultsIn(schema.Items.Schema, n.items, path.Child("items"))...)
	}
	if n.additional != nil {
		found = append(found, defaultsIn(schema.AdditionalProperties.Schema, n.additional, path.Child("additionalProperties"))...)
	}
	return found
}

// defaultErrors returns what is wrong with the defaults of a schema. The API server's check of a CustomResourceDefinition validates
// them as a whole, without a bound on the work, and compares each error with all others. So it gets only defaults that are right.
func defaultErrors(all []schemaDefault, path *field.Path) field.ErrorList {
	work := 0
	for _, d := range all {
		if work += d.of.work(d.value); work > maxWork {
			return field.ErrorList{field.Invalid(path, "", "its defaults have too many values, or too long texts, for its properties, patterns, enums and alternatives")}
		}
	}
	var errs field.ErrorList
	for _, d := range all {
		errs = d.of.validate(d.value, d.path, errs)
	}
	return sortedErrors(errs)
}

// withoutDefaults returns a copy of a schema without its defaults.
func withoutDefaults(schema *apiextensions.JSONSchemaProps) *apiextensions.JSONSchemaProps {
	bare := schema.DeepCopy()
	dropDefaults(bare)
	return bare
}

func dropDefaults(schema *apiextensions.JSONSchemaProps) {
	schema.Default = nil
	for name, property := range schema.Properties {
		dropDefaults(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		dropDefaults(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		dropDefaults(schema.AdditionalProperties.Schema)
	}
}
