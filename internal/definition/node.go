// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxErrors bounds the errors about one input.
const maxErrors = 100

// node validates one value by its own part of a schema, and the values below it by nodes of their own. The API server's
// validator takes a whole value, but it compares each error with all others: 64 KiB of bad items would take a minute.
type node struct {
	own        validation.SchemaValidator
	properties map[string]*node
	// items validates the items of an array, and additional the fields of an object that are not in properties.
	items, additional *node
	// weight is the work for one value.
	weight weight
}

func newNode(schema *apiextensions.JSONSchemaProps) (n *node, err error) {
	own := *schema
	own.Properties, own.Items, own.AdditionalProperties = nil, nil, nil
	n = &node{properties: make(map[string]*node, len(schema.Properties)), weight: weigh(&own)}
	n.weight.value += propertyWork * len(schema.Properties)
	if n.own, _, err = validation.NewSchemaValidator(&own); err != nil {
		return nil, err
	}
	for name, property := range schema.Properties {
		if n.properties[name], err = newNode(&property); err != nil {
			return nil, err
		}
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		if n.items, err = newNode(schema.Items.Schema); err != nil {
			return nil, err
		}
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		n.additional, err = newNode(schema.AdditionalProperties.Schema)
	}
	return n, err
}

// validate adds what is wrong with a value to errs, up to maxErrors.
func (n *node) validate(value any, path *field.Path, errs field.ErrorList) field.ErrorList {
	if n == nil || len(errs) >= maxErrors {
		return errs
	}
	for _, err := range validation.ValidateCustomResource(path, value, n.own) {
		err.Detail = strings.TrimPrefix(strings.TrimSpace(err.Detail), "in body ")
		errs = append(errs, err)
	}
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			if property, found := n.properties[name]; found {
				errs = property.validate(child, path.Child(name), errs)
			} else {
				errs = n.additional.validate(child, path.Child(name), errs)
			}
		}
	case []any:
		for i, child := range value {
			errs = n.items.validate(child, path.Index(i), errs)
		}
	}
	return errs
}
