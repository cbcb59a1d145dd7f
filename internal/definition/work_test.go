// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// ofSchema returns a definition with this schema.
func ofSchema(schema string) *v1alpha1.JobDefinition {
	d := &v1alpha1.JobDefinition{}
	d.Spec.InputSchema = &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{Raw: []byte(schema)}}
	return d
}

// list returns n items, with a comma between them.
func list(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ",")
}

func always(item string) func(int) string { return func(int) string { return item } }

// A namespace writes its own schemas, and the webhook answers the triggers of all. Each of these inputs fits its schema, and took
// seconds or minutes.
func TestWorkIsBounded(t *testing.T) {
	alternatives := list(900, func(i int) string { return fmt.Sprintf(`{"maximum": -%d}`, i+1) })
	for name, tc := range map[string]struct{ schema, input string }{
		"many alternatives for many items": {`{"type": "array", "items": {"type": "integer", "not": {"anyOf": [` + alternatives + `]}}}`, "[" + list(30000, always("1")) + "]"},
		"a large enum for many items": {
			`{"type": "array", "items": {"type": "integer", "enum": [` + list(1900, func(i int) string { return fmt.Sprint(i + 1) }) + `]}}`, "[" + list(30000, always("1")) + "]",
		},
		"many properties for many items": {
			`{"type": "array", "items": {"type": "object", "properties": {` + list(1900, func(i int) string { return fmt.Sprintf(`"%d": {"type": "integer"}`, i) }) + `}}}`,
			"[" + list(20000, always("{}")) + "]",
		},
		"a large pattern for a long text": {`{"type": "string", "pattern": "^(a|aa){1000}"}`, `"` + strings.Repeat("a", 65000) + `"`},
		"large patterns in alternatives": {
			`{"type": "object", "additionalProperties": {"type": "string", "anyOf": [` + list(3, always(`{"pattern": "^(a|aa){450}"}`)) + `]}}`,
			"{" + list(6000, func(i int) string { return fmt.Sprintf(`"%d": "a"`, i) }) + `, "a": "` + strings.Repeat("a", 10000) + `"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, errs := definition.Compile(ofSchema(tc.schema))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			start := time.Now()
			_, errs = d.Complete(&v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(tc.input)}}, nil)
			if len(errs) != 1 || errs[0].Field != "spec.input" || !strings.HasPrefix(errs[0].Detail, "has too many values, or too long texts") {
				t.Errorf("errors: %.300s", errs.ToAggregate())
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// Each item of an array gets the defaults of its schema. 64 KiB of items and of defaults would be more than the memory of the
// operator.
func TestDefaultsAreBounded(t *testing.T) {
	large := `"` + strings.Repeat("a", 60000) + `"`
	for name, tc := range map[string]struct {
		schema, input string
		refused       bool
	}{
		"of a property of many items": {
			`{"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": ` + large + `}}}}`, "[" + list(20000, always("{}")) + "]", true,
		},
		"inside a default": {
			`{"type": "array", "items": {"type": "object", "properties": {"a": {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": ` + large + `}}}}}}`,
			"[" + list(20000, always("{}")) + "]", true,
		},
		"for many nulls": {`{"type": "array", "items": {"type": "string", "default": ` + large + `}}`, "[" + list(10000, always("null")) + "]", true},
		"of additional properties": {
			`{"type": "object", "additionalProperties": {"type": "string", "default": ` + large + `}}`, "{" + list(5000, func(i int) string { return fmt.Sprintf(`"%d": null`, i) }) + "}", true,
		},
		"that the input has itself": {
			`{"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": ` + large + `}}}}`, "[" + list(3000, always(`{"a": "b"}`)) + "]", false,
		},
		"of a nullable item": {`{"type": "array", "items": {"type": "string", "nullable": true, "default": ` + large + `}}`, "[" + list(1000, always("null")) + "]", false},
		"once":               {`{"type": "object", "properties": {"a": {"type": "string", "default": ` + large + `}}}`, "{}", false},
		"of the input":       {`{"type": "string", "default": ` + large + `}`, "null", false},
	} {
		t.Run(name, func(t *testing.T) {
			d, errs := definition.Compile(ofSchema(tc.schema))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			_, errs = d.Complete(&v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(tc.input)}}, nil)
			const want = "has more than 65536 bytes with the defaults of the inputSchema"
			if tc.refused && (len(errs) != 1 || errs[0].Field != "spec.input" || errs[0].Detail != want) || !tc.refused && len(errs) > 0 {
				t.Errorf("errors: %.300s, want refused=%t", errs.ToAggregate(), tc.refused)
			}
		})
	}
}

// The webhook also validates the defaults of a schema, when the definition is written. Each of these took seconds or minutes.
func TestWorkOfDefaultsIsBounded(t *testing.T) {
	alternatives := list(900, func(i int) string { return fmt.Sprintf(`{"maximum": -%d}`, i+1) })
	text := `"` + strings.Repeat("a", 60000) + `"`
	const schema, tooMuch = "spec.inputSchema.openAPIV3Schema", "its defaults have too many values, or too long texts"
	for name, tc := range map[string]struct{ schema, field, says string }{
		"many alternatives for many items": {
			`{"type": "array", "items": {"type": "integer", "not": {"anyOf": [` + alternatives + `]}}, "default": [` + list(900, always("1")) + `]}`, schema, tooMuch,
		},
		"a large pattern for a long text": {`{"type": "string", "pattern": "^(a|aa){1000}", "default": ` + text + `}`, schema, tooMuch},
		"many of them": {
			`{"type": "object", "properties": {` + list(50, func(i int) string {
				return fmt.Sprintf(`"%d": {"type": "string", "pattern": "^(a|aa){30}", "default": "%s"}`, i, strings.Repeat("a", 1000))
			}) + `, "a": {"type": "array", "items": {"type": "integer", "not": {"anyOf": [` + list(100, always(`{"maximum": -1}`)) + `]}}, "default": [` +
				list(900, always("1")) + `]}}}`, schema, tooMuch,
		},
		"inside items and additional properties": {
			`{"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^(a|aa){1000}", "default": ` + text + `}}}`, schema, tooMuch,
		},
		"many errors": {
			`{"type": "array", "items": {"type": "integer", "anyOf": [` + alternatives + `]}, "default": [` + list(50, always("1")) + `]}`, schema + ".default[0]", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, errs := definition.Compile(ofSchema(tc.schema))
			if len(errs) == 0 || errs[0].Field != tc.field || !strings.HasPrefix(errs[0].Detail, tc.says) {
				t.Errorf("errors: %.300s", errs.ToAggregate())
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestWorkOfUsualInputs(t *testing.T) {
	for name, tc := range map[string]struct{ schema, input string }{
		"64 KiB of items":        {`{"type": "array", "items": {"type": "integer", "minimum": 0}}`, "[" + list(32000, always("1")) + "]"},
		"a pattern and a text":   {`{"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?"}`, `"` + strings.Repeat("a", 65000) + `"`},
		"an enum of 200 and 500": {`{"type": "array", "items": {"type": "integer", "enum": [` + list(200, func(i int) string { return fmt.Sprint(i) }) + `]}}`, "[" + list(500, always("199")) + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, errs := definition.Compile(ofSchema(tc.schema))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if _, errs = d.Complete(&v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(tc.input)}}, nil); len(errs) > 0 {
				t.Errorf("errors: %.300s", errs.ToAggregate())
			}
		})
	}
}

func TestPatternsAreBounded(t *testing.T) {
	for schema, refused := range map[string]bool{
		`{"type": "string", "pattern": "^[a-z]{1000}$"}`:                                                      false,
		`{"type": "string", "pattern": "` + strings.Repeat("[a-z]{1000}", 11) + `"}`:                          true,
		`{"type": "string", "anyOf": [` + list(11, always(`{"pattern": "[a-z]{1000}"}`)) + `]}`:               true,
		`{"type": "object", "properties": {"pattern": {"type": "string", "pattern": "(ab?){500}c{1,1000}"}}}`: false,
	} {
		_, errs := definition.Compile(ofSchema(schema))
		if got := len(errs) > 0 && strings.HasPrefix(errs[0].Detail, "its patterns are too large"); got != refused || len(errs) > 0 != refused {
			t.Errorf("%.80s: %v, want refused=%t", schema, errs, refused)
		}
	}
}
