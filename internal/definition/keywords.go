// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// keywords are the names of the fields of a JSON schema that a CustomResourceDefinition can have.
var keywords = func() sets.Set[string] {
	names := sets.New[string]()
	props := reflect.TypeFor[apiextensionsv1.JSONSchemaProps]()
	for i := range props.NumField() {
		name, _, _ := strings.Cut(props.Field(i).Tag.Get("json"), ",")
		names.Insert(name)
	}
	return names
}()

// unsupported are keywords of a CustomResourceDefinition that an input cannot have, and why.
var unsupported = map[string]string{
	"x-kubernetes-validations":       "is not supported in an inputSchema: use enum, pattern, minimum and the like",
	"x-kubernetes-embedded-resource": "is not supported in an inputSchema: an input is no Kubernetes object",
}

// keywordErrors reports the keywords of a schema that are unknown or unsupported. The API server ignores unknown ones, so a
// misspelt one would check nothing.
func keywordErrors(schema any, path *field.Path) field.ErrorList {
	object, ok := schema.(map[string]any)
	if !ok {
		return nil // The decoder reports what is no schema.
	}
	var errs field.ErrorList
	for _, name := range sets.List(sets.KeySet(object)) {
		at := path.Child(name)
		if reason, found := unsupported[name]; found {
			errs = append(errs, field.Forbidden(at, reason))
		} else if !keywords.Has(name) {
			errs = append(errs, field.Invalid(at, "", "unknown keyword"))
		}
	}
	if items, ok := object["items"].(map[string]any); ok && object["x-kubernetes-list-type"] == "set" && (items["type"] == "object" || items["type"] == "array") {
		errs = append(errs, field.Forbidden(path.Child("x-kubernetes-list-type"), "is not supported in an inputSchema for a set of objects or arrays"))
	}
	for _, inner := range append(structureOf(object, path), junctorsOf(object, path)...) {
		errs = append(errs, keywordErrors(inner.schema, inner.path)...)
	}
	return errs
}

// junctorErrors reports what a schema must not have inside allOf, anyOf, oneOf and not.
func junctorErrors(schema any, path *field.Path) field.ErrorList {
	object, ok := schema.(map[string]any)
	if !ok {
		return nil
	}
	var errs field.ErrorList
	for _, inner := range junctorsOf(object, path) {
		errs = append(errs, insideErrors(inner, object, path)...)
	}
	for _, inner := range structureOf(object, path) {
		errs = append(errs, junctorErrors(inner.schema, inner.path)...)
	}
	return errs
}

// insideErrors reports items, which node could not validate one by one, and properties that outer does not have: each input with
// them would be refused, because they are unknown.
func insideErrors(of located, outer map[string]any, outerPath *field.Path) field.ErrorList {
	object, ok := of.schema.(map[string]any)
	if !ok {
		return nil
	}
	var errs field.ErrorList
	if _, found := object["items"]; found {
		errs = append(errs, field.Forbidden(of.path.Child("items"), "is not supported in an inputSchema inside allOf, anyOf, oneOf or not"))
	}
	properties, _ := object["properties"].(map[string]any)
	known, _ := outer["properties"].(map[string]any)
	for _, name := range sets.List(sets.KeySet(properties)) {
		at := of.path.Child("properties").Key(name)
		property, found := known[name].(map[string]any)
		if !found {
			errs = append(errs, field.Required(outerPath.Child("properties").Key(name), "because it is defined in "+at.String()))
			continue
		}
		errs = append(errs, insideErrors(located{properties[name], at}, property, outerPath.Child("properties").Key(name))...)
	}
	for _, inner := range junctorsOf(object, of.path) {
		errs = append(errs, insideErrors(inner, outer, outerPath)...)
	}
	return errs
}

// located is a schema, and where it is.
type located struct {
	schema any
	path   *field.Path
}

// structureOf returns the schemas of the values below those of a schema.
func structureOf(schema map[string]any, path *field.Path) (found []located) {
	for _, keyword := range []string{"properties", "patternProperties", "definitions"} {
		properties, _ := schema[keyword].(map[string]any)
		for _, name := range sets.List(sets.KeySet(properties)) {
			found = append(found, located{properties[name], path.Child(keyword).Key(name)})
		}
	}
	for _, keyword := range []string{"items", "additionalProperties"} {
		found = append(found, located{schema[keyword], path.Child(keyword)})
	}
	return found
}

// junctorsOf returns the schemas that a schema combines for the same values.
func junctorsOf(schema map[string]any, path *field.Path) (found []located) {
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		all, _ := schema[keyword].([]any)
		for i := range all {
			found = append(found, located{all[i], path.Child(keyword).Index(i)})
		}
	}
	return append(found, located{schema["not"], path.Child("not")})
}
