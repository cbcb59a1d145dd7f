// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"regexp/syntax"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
)

// The work of a validation is counted in units of some 10 ns. A trigger waits for it, and so do the triggers of other namespaces,
// because a namespace writes its own schemas.
const (
	// maxWork bounds the validation of one input: some half a second.
	maxWork = 50_000_000
	// schemaWork is the work for one value and one schema, propertyWork that for one value and one property of its schema, and
	// enumWork that for one value and one value of an enum. A character and one instruction of a pattern take one unit.
	schemaWork, propertyWork, enumWork = 500, 10, 5
	// maxInstructions bounds the patterns of a schema. The API server's validator keeps each pattern for ever, with 40 bytes for
	// each instruction.
	maxInstructions = 10_000
)

// weight is the work for one value of a schema.
type weight struct {
	// value does not depend on the value, and character is the work for each byte of text in it.
	value, character int
}

// weigh returns the weight of a schema, with all schemas inside it.
func weigh(schema *apiextensions.JSONSchemaProps) weight {
	w := weight{schemaWork + enumWork*len(schema.Enum), instructions(schema.Pattern)}
	inner := slices.Concat(schema.AllOf, schema.AnyOf, schema.OneOf)
	if schema.Not != nil {
		inner = append(inner, *schema.Not)
	}
	for _, property := range schema.Properties {
		inner = append(inner, property)
	}
	for i := range inner {
		of := weigh(&inner[i])
		w.value, w.character = w.value+of.value, w.character+of.character
	}
	return w
}

// work returns the work of validating a value.
func (n *node) work(value any) int {
	if n == nil {
		return 0
	}
	total := n.weight.value
	if n.weight.character > 0 {
		total += n.weight.character * textIn(value)
	}
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			if property, found := n.properties[name]; found {
				total += property.work(child)
			} else {
				total += n.additional.work(child)
			}
		}
	case []any:
		for _, child := range value {
			total += n.items.work(child)
		}
	}
	return total
}

// takeSize subtracts the size of a value from left, in bytes: that of its JSON at least, with the defaults of its schema. It stops
// below 0. Defaults may be large, and each item of an array may get them.
func takeSize(left int, value any, schema *structuralschema.Structural) int {
	if schema == nil {
		schema = &structuralschema.Structural{}
	}
	if value == nil && !schema.Nullable {
		value = schema.Default.Object
	}
	switch value := value.(type) {
	case string:
		return left - len(value)
	case map[string]any:
		return takeFields(left, value, schema)
	case []any:
		for _, child := range value {
			if left--; left < 0 {
				return left
			}
			left = takeSize(left, child, schema.Items)
		}
	}
	return left - 1
}

func takeFields(left int, object map[string]any, schema *structuralschema.Structural) int {
	for name, child := range object {
		if left -= len(name) + 1; left < 0 {
			return left
		}
		of := schema.Properties[name]
		known := &of
		if _, found := schema.Properties[name]; !found && schema.AdditionalProperties != nil {
			known = schema.AdditionalProperties.Structural
		}
		left = takeSize(left, child, known)
	}
	for name, property := range schema.Properties {
		if _, found := object[name]; !found && property.Default.Object != nil {
			if left -= len(name) + 1; left < 0 {
				return left
			}
			left = takeSize(left, property.Default.Object, &property)
		}
	}
	return left - 2
}

// textIn returns the bytes of all texts in a value.
func textIn(value any) int {
	size := 0
	switch value := value.(type) {
	case string:
		return len(value)
	case map[string]any:
		for _, child := range value {
			size += textIn(child)
		}
	case []any:
		for _, child := range value {
			size += textIn(child)
		}
	}
	return size
}

// patternsIn returns the instructions of all patterns in the JSON of a schema.
func patternsIn(schema any) int {
	total := 0
	switch schema := schema.(type) {
	case map[string]any:
		for name, child := range schema {
			if pattern, ok := child.(string); ok && name == "pattern" {
				total += instructions(pattern)
			}
			total += patternsIn(child)
		}
	case []any:
		for _, child := range schema {
			total += patternsIn(child)
		}
	}
	return total
}

// instructions returns how many instructions a pattern has about, without compiling it: x{1000} has 1000. A pattern that cannot
// be parsed has none.
func instructions(pattern string) int {
	if pattern == "" {
		return 0
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	return instructionsOf(parsed)
}

func instructionsOf(parsed *syntax.Regexp) int {
	total := 1
	switch parsed.Op {
	case syntax.OpLiteral:
		total = len(parsed.Rune)
	case syntax.OpConcat, syntax.OpRepeat:
		total = 0
	}
	for _, sub := range parsed.Sub {
		total += instructionsOf(sub)
	}
	if parsed.Op == syntax.OpRepeat {
		total *= max(parsed.Min, parsed.Max, 1)
	}
	return total
}
