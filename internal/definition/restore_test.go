// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

const (
	// byDefinition is a spec that a definition has completed, and byNone one without a definition.
	byDefinition = "{concurrencyKey: k, coalesce: Skip, idempotencyKey: i, ttlSecondsAfterFinished: 0, maxAttempts: 5, " +
		"admission: {executor: Job, definition: {name: job}}"
	byNone = "{concurrencyKey: k, idempotencyKey: i, maxAttempts: 5, admission: {executor: Worker}"
)

func TestRestore(t *testing.T) {
	const restored = "{concurrencyKey: k, coalesce: Skip, idempotencyKey: i, ttlSecondsAfterFinished: 0, maxAttempts: 5"
	withInput := func(spec, input string) string { return spec + ", input: " + input + "}" }
	for name, tc := range map[string]struct{ stored, sent, want string }{
		"all that the definition gave":    {byDefinition + "}", "{}", restored + "}"},
		"other values stay":               {byDefinition + "}", "{concurrencyKey: x, maxAttempts: 3, idempotencyKey: y}", "{concurrencyKey: x, coalesce: Skip, idempotencyKey: y, ttlSecondsAfterFinished: 0, maxAttempts: 3}"},
		"only the built-in ones":          {byNone + "}", "{}", "{maxAttempts: 5}"},
		"what was not stored":             {"{}", "{}", "{}"},
		"a template and a batch stay out": {byDefinition + ", template: {}, batch: {id: b}, cancel: true}", "{}", restored + "}"},

		"the whole input":                    {withInput(byDefinition, "{a: 1}"), "{}", withInput(restored, `{"a":1}`)},
		"an input of null":                   {withInput(byDefinition, "[1]"), "{input: null}", withInput(restored, "[1]")},
		"a field of the input":               {withInput(byDefinition, "{a: 1, b: false}"), "{input: {a: 1}}", withInput(restored, `{"a":1,"b":false}`)},
		"a field that is null":               {withInput(byDefinition, "{a: 1, b: false}"), "{input: {a: 1, b: null}}", withInput(restored, `{"a":1,"b":false}`)},
		"a field of an item":                 {withInput(byDefinition, "{a: [{b: 1, c: 2}, {c: 2}]}"), "{input: {a: [{b: 1}, {}]}}", withInput(restored, `{"a":[{"b":1,"c":2},{"c":2}]}`)},
		"a field of another value":           {withInput(byDefinition, "{a: 1, b: false}"), "{input: {a: 2}}", withInput(restored, `{"a":2}`)},
		"a field of another type":            {withInput(byDefinition, "{a: 1, b: false}"), `{input: {a: "1"}}`, withInput(restored, `{"a":"1"}`)},
		"a number beyond floats":             {withInput(byDefinition, "{a: 9007199254740993, b: 1}"), "{input: {a: 9007199254740992}}", withInput(restored, `{"a":9007199254740992}`)},
		"a field that is new":                {withInput(byDefinition, "{a: 1, b: false}"), "{input: {a: 1, z: null}}", withInput(restored, `{"a":1,"z":null}`)},
		"an item less":                       {withInput(byDefinition, "[1, 2]"), "{input: [1]}", withInput(restored, "[1]")},
		"an item that is an object":          {withInput(byDefinition, "[1, {}]"), "{input: [1, 2]}", withInput(restored, "[1,2]")},
		"an object that was a text":          {withInput(byDefinition, "{a: x}"), "{input: {a: {}}}", withInput(restored, `{"a":{}}`)},
		"the input of no definition is kept": {withInput(byNone, "{a: 1, b: false}"), "{input: {a: 1}}", withInput("{maxAttempts: 5", `{"a":1}`)},
	} {
		spec := parseYAML[v1alpha1.JobRunSpec](tc.sent)
		definition.Restore(spec, parseYAML[v1alpha1.JobRunSpec](tc.stored))
		if diff := cmp.Diff(parseYAML[v1alpha1.JobRunSpec](tc.want), spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An input that says the same keeps its text.
func TestRestoreKeepsTheText(t *testing.T) {
	spec := parseYAML[v1alpha1.JobRunSpec]("{}")
	spec.Input = parseYAML[v1alpha1.JobRunSpec](`{input: {a: 1}}`).Input
	spec.Input.Raw = []byte(`{ "a": 1 }`)
	definition.Restore(spec, parseYAML[v1alpha1.JobRunSpec](byDefinition+", input: {a: 1}}"))
	if got := string(spec.Input.Raw); got != `{ "a": 1 }` {
		t.Errorf("rewrote %s", got)
	}
}
