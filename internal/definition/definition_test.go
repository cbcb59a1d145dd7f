// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

const orgs = "{type: object, required: [org], properties: {org: {type: string, maxLength: 40}, full: {type: boolean, default: false}}}"

// syncUsers returns the spec of a JobDefinition with the schema orgs and this rest.
func syncUsers(rest string) string {
	return "inputSchema: {openAPIV3Schema: " + orgs + "}\n" + rest
}

func parse[T any](t testing.TB, text string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return into
}

func definitionOf(t testing.TB, spec string) *v1alpha1.JobDefinition {
	t.Helper()
	d := &v1alpha1.JobDefinition{Spec: *parse[v1alpha1.JobDefinitionSpec](t, spec)}
	d.Name = "sync-users"
	return d
}

func compiled(t testing.TB, spec string) *definition.Definition {
	t.Helper()
	d, errs := definition.Compile(definitionOf(t, spec))
	if len(errs) > 0 {
		t.Fatalf("compile %s: %v", spec, errs)
	}
	return d
}

// fieldsOf returns the fields of errors, sorted and once each.
func fieldsOf(errs field.ErrorList) []string {
	var names []string
	for _, err := range errs {
		names = append(names, err.Field)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestCompile(t *testing.T) {
	const schema = "spec.inputSchema.openAPIV3Schema"
	ofSchema := func(text string) string { return "inputSchema: {openAPIV3Schema: " + text + "}" }
	many := strings.Repeat("{required: [a]}, ", 2100)
	tests := map[string]struct {
		spec string
		// want are the fields of the errors, says a part of their text.
		want []string
		says string
	}{
		"nothing":                {"description: x", nil, ""},
		"everything":             {syncUsers("concurrencyKeyExpression: '\"org_\" + input.org'\nidempotencyKeyExpression: labels.id"), nil, ""},
		"a schema of a text":     {ofSchema("{type: string}") + "\nconcurrencyKeyExpression: input", nil, ""},
		"a field metadata":       {ofSchema("{type: object, properties: {metadata: {type: object, properties: {a: {type: string}}}, kind: {type: integer}}}"), nil, ""},
		"a schema of any fields": {ofSchema("{type: object, x-kubernetes-preserve-unknown-fields: true}"), nil, ""},
		"oneOf":                  {ofSchema("{type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}]}"), nil, ""},

		"no schema in inputSchema":   {"inputSchema: {}", []string{schema}, "Required value"},
		"null as schema":             {ofSchema("null"), []string{schema}, "Required value"},
		"a schema without a type":    {ofSchema("{properties: {a: {type: string}}}"), []string{schema + ".type"}, "must not be empty"},
		"an unknown type":            {ofSchema("{type: object, properties: {a: {type: text}}}"), []string{schema + ".properties[a].type"}, `"text"`},
		"an array without items":     {ofSchema("{type: array}"), []string{schema + ".items"}, "Required value"},
		"a pattern that is no regex": {ofSchema("{type: string, pattern: '('}"), []string{schema + ".pattern"}, "regular expression"},
		"a default that is too long": {ofSchema("{type: object, properties: {a: {type: string, maxLength: 1, default: xx}}}"), []string{schema + ".properties[a].default"}, "1"},
		"a field only in anyOf":      {ofSchema("{type: object, anyOf: [{properties: {a: {minLength: 1}}}]}"), []string{schema + ".properties[a]"}, "anyOf"},
		"a reference":                {ofSchema("{$ref: '#/x'}"), []string{schema + ".$ref"}, "not supported"},
		"a schema that is a number":  {ofSchema("5"), []string{schema}, "number"},
		"two unknown keywords": {
			ofSchema("{type: object, properties: {a: {type: string, maxLenght: 5}, b: {type: array, items: {typ: string, type: string}}}}"),
			[]string{schema + ".properties[a].maxLenght", schema + ".properties[b].items.typ"}, "unknown keyword",
		},
		"rules":                  {ofSchema("{type: object, x-kubernetes-validations: [{rule: 'true'}]}"), []string{schema + ".x-kubernetes-validations"}, "not supported"},
		"rules in allOf":         {ofSchema("{type: object, allOf: [{x-kubernetes-validations: []}]}"), []string{schema + ".allOf[0].x-kubernetes-validations"}, "not supported"},
		"an embedded resource":   {ofSchema("{type: object, x-kubernetes-embedded-resource: true}"), []string{schema + ".x-kubernetes-embedded-resource"}, "no Kubernetes object"},
		"items in not":           {ofSchema("{type: array, items: {type: string}, not: {items: {minLength: 3}}}"), []string{schema + ".not.items"}, "not supported"},
		"a set of objects":       {ofSchema("{type: array, x-kubernetes-list-type: set, items: {type: object}}"), []string{schema + ".x-kubernetes-list-type"}, "set"},
		"a schema of 64 KiB":     {ofSchema("{type: string, description: " + strings.Repeat("x", 64<<10) + "}"), []string{schema}, "Too long"},
		"a schema of many parts": {ofSchema("{type: object, anyOf: [" + many[:len(many)-2] + "]}"), []string{schema}, "Too many"},
		"a schema of 65 levels":  {ofSchema(strings.Repeat("{type: array, items: ", 65) + "{type: string}" + strings.Repeat("}", 65)), []string{schema}, "64 levels"},

		"an expression that is no CEL": {"concurrencyKeyExpression: '\"a'", []string{"spec.concurrencyKeyExpression"}, "does not compile"},
		"a field that the schema lacks": {
			syncUsers("concurrencyKeyExpression: input.organisation"), []string{"spec.concurrencyKeyExpression"}, "undefined field 'organisation'",
		},
		"both expressions are wrong": {
			syncUsers("concurrencyKeyExpression: input.a\nidempotencyKeyExpression: input.b"),
			[]string{"spec.concurrencyKeyExpression", "spec.idempotencyKeyExpression"}, "undefined field",
		},
		"a boolean":           {syncUsers("concurrencyKeyExpression: input.full"), []string{"spec.concurrencyKeyExpression"}, "must give a string, not bool"},
		"an optional text":    {syncUsers("concurrencyKeyExpression: input.?org"), []string{"spec.concurrencyKeyExpression"}, "must give a string"},
		"another variable":    {"concurrencyKeyExpression: object.metadata.name", []string{"spec.concurrencyKeyExpression"}, "undeclared reference"},
		"a label as a number": {"concurrencyKeyExpression: string(labels.n + 1)", []string{"spec.concurrencyKeyExpression"}, "no matching overload"},
		"a key of unbounded items": {
			ofSchema("{type: array, items: {type: array, items: {type: string}}}") +
				"\nconcurrencyKeyExpression: 'input.all(a, a.all(b, a.all(c, b == c))) ? \"a\" : \"b\"'",
			[]string{"spec.concurrencyKeyExpression"}, "costs too much",
		},
		"patterns in quotes": {
			ofSchema("{type: string, maxLength: 9}") + "\nconcurrencyKeyExpression: 'matches(input, \"^[a-z]{1,9}$\") ? input.find(\"[a-z]\") : \"b\"'", nil, "",
		},
		"a pattern from the input": {
			ofSchema("{type: string}") + "\nconcurrencyKeyExpression: '\"x\".matches(input) ? \"a\" : \"b\"'",
			[]string{"spec.concurrencyKeyExpression"}, "must have a text in quotes as the pattern of matches",
		},
		"a pattern that is too large": {
			ofSchema("{type: string, maxLength: 1}") + "\nconcurrencyKeyExpression: 'input.matches(\"" + strings.Repeat("x{1000}", 11) + "\") ? \"a\" : \"b\"'",
			[]string{"spec.concurrencyKeyExpression"}, "they have 11000 instructions",
		},
		"a quantity": {
			ofSchema("{type: string}") + "\nconcurrencyKeyExpression: 'quantity(input).isGreaterThan(quantity(\"1\")) ? \"a\" : \"b\"'",
			[]string{"spec.concurrencyKeyExpression"}, "must not call quantity",
		},
		"a list of a map": {
			ofSchema("{type: object, additionalProperties: {type: string}}") + "\nconcurrencyKeyExpression: input.map(k, k)[0]",
			[]string{"spec.concurrencyKeyExpression"}, "no order",
		},
		"a list of labels": {"idempotencyKeyExpression: 'labels.filter(k, true)[0]'", []string{"spec.idempotencyKeyExpression"}, "no order"},
		"a list of a list": {
			ofSchema("{type: array, maxItems: 5, items: {type: string, maxLength: 5}}") + "\nconcurrencyKeyExpression: 'input.map(k, k + \"x\")[0]'", nil, "",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, errs := definition.Compile(definitionOf(t, tc.spec))
			if diff := cmp.Diff(tc.want, fieldsOf(errs)); diff != "" {
				t.Errorf("fields (-want +got):\n%s%v", diff, errs)
			}
			if (got != nil) != (len(errs) == 0) {
				t.Errorf("got %v with the errors %v", got, errs)
			}
			for _, err := range errs {
				if !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%q does not say %q", err, tc.says)
				}
			}
		})
	}
}

func TestComplete(t *testing.T) {
	const byOrg = `concurrencyKeyExpression: '"org_" + input.org'`
	tests := map[string]struct{ definition, trigger, labels, want string }{
		"nothing to do": {"description: x", "input: 5", "", "input: 5"},
		"the key of the input": {
			syncUsers(byOrg), "input: {org: acme}", "", "input: {org: acme, full: false}\nconcurrencyKey: org_acme",
		},
		"the key of the default": {
			syncUsers(`concurrencyKeyExpression: 'string(input.full)'`), "input: {org: acme}", "", "input: {org: acme, full: false}\nconcurrencyKey: 'false'",
		},
		"the trigger's key is the same": {
			syncUsers(byOrg), "input: {org: acme, full: true}\nconcurrencyKey: org_acme", "", "input: {org: acme, full: true}\nconcurrencyKey: org_acme",
		},
		"the key of a label":     {"concurrencyKeyExpression: labels.team", "jobName: sync-users", "team: a", "jobName: sync-users\nconcurrencyKey: a"},
		"a key of any input":     {"concurrencyKeyExpression: input.a.b[0]", "input: {a: {b: [x]}}", "", "input: {a: {b: [x]}}\nconcurrencyKey: x"},
		"an input of many types": {"concurrencyKeyExpression: 'string(input[0]) + string(input[1]) + string(input[2])'", "input: [1, 1.5, true]", "", "input: [1, 1.5, true]\nconcurrencyKey: 11.5true"},
		"an idempotencyKey":      {"idempotencyKeyExpression: input.id", "input: {id: a}", "", "input: {id: a}\nidempotencyKey: a"},
		"an idempotencyKey of the trigger's own": {
			"idempotencyKeyExpression: input.id", "input: {id: a}\nidempotencyKey: b", "", "input: {id: a}\nidempotencyKey: b",
		},
		"an idempotencyKey of the trigger's own and no input": {"idempotencyKeyExpression: input.id", "idempotencyKey: b", "", "idempotencyKey: b"},
		"no input, an object that needs nothing":              {"inputSchema: {openAPIV3Schema: {type: object}}", "jobName: j", "", "jobName: j\ninput: {}"},
		"no input, defaults":                                  {"inputSchema: {openAPIV3Schema: {type: object, properties: {a: {type: integer, default: 1}}}}", "input: null", "", "input: {a: 1}"},
		"no input, a default input":                           {"inputSchema: {openAPIV3Schema: {type: array, items: {type: string}, default: [a]}}", "jobName: j", "", "jobName: j\ninput: [a]"},
		"no input, a nullable one":                            {"inputSchema: {openAPIV3Schema: {type: string, nullable: true}}", "input: null", "", ""},
		"null where a default is":                             {"inputSchema: {openAPIV3Schema: {type: object, properties: {a: {type: integer, default: 1}}}}", "input: {a: null}", "", "input: {a: 1}"},
		"any fields":                                          {"inputSchema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}", "input: {a: 1}", "", "input: {a: 1}"},
		"a field of any name":                                 {"inputSchema: {openAPIV3Schema: {type: object, additionalProperties: {type: integer}}}", "input: {a.b: 1}", "", "input: {a.b: 1}"},

		"all defaults": {
			"defaults: {concurrencyKey: k, coalesce: Skip, idempotencyTTLSeconds: 1, idempotencyRelease: OnFailure, leaseDurationSeconds: 2, " +
				"activeDeadlineSeconds: 3, maxAttempts: 4, onLeaseExpired: Requeue, onJobLost: Fail, ttlSecondsAfterFinished: 0}",
			"idempotencyKey: i", "",
			"{idempotencyKey: i, concurrencyKey: k, coalesce: Skip, idempotencyTTLSeconds: 1, idempotencyRelease: OnFailure, leaseDurationSeconds: 2, " +
				"activeDeadlineSeconds: 3, maxAttempts: 4, onLeaseExpired: Requeue, onJobLost: Fail, ttlSecondsAfterFinished: 0}",
		},
		"defaults without a key": {
			"defaults: {coalesce: Skip, idempotencyTTLSeconds: 1, idempotencyRelease: OnFailure}", "jobName: j", "", "jobName: j",
		},
		"defaults beside a computed key": {
			"concurrencyKeyExpression: '\"k\"'\nidempotencyKeyExpression: '\"i\"'\ndefaults: {coalesce: Skip, idempotencyTTLSeconds: 1}", "jobName: j", "",
			"{jobName: j, concurrencyKey: k, coalesce: Skip, idempotencyKey: i, idempotencyTTLSeconds: 1}",
		},
		"another value where it may be": {
			"defaults: {concurrencyKey: k, maxAttempts: 4, ttlSecondsAfterFinished: 7}\noverridable: [concurrencyKey, maxAttempts, ttlSecondsAfterFinished, coalesce]",
			"{concurrencyKey: l, maxAttempts: 5, ttlSecondsAfterFinished: 0, coalesce: Skip}", "",
			"{concurrencyKey: l, maxAttempts: 5, ttlSecondsAfterFinished: 0, coalesce: Skip}",
		},
		"the same value where it must be": {"defaults: {maxAttempts: 4, ttlSecondsAfterFinished: 7}", "{maxAttempts: 4, ttlSecondsAfterFinished: 7}", "", "{maxAttempts: 4, ttlSecondsAfterFinished: 7}"},
		"what a stored JobRun shows":      {"description: x", "{maxAttempts: 3, onLeaseExpired: Fail, onJobLost: Requeue}", "", "{maxAttempts: 3, onLeaseExpired: Fail, onJobLost: Requeue}"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d, trigger := compiled(t, tc.definition), parse[v1alpha1.JobRunSpec](t, tc.trigger)
			labels, before := *parse[map[string]string](t, tc.labels), trigger.DeepCopy()
			got, errs := d.Complete(trigger, labels)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if diff := cmp.Diff(before, trigger); diff != "" {
				t.Errorf("the trigger has changed:\n%s", diff)
			}
			if diff := cmp.Diff(plain(t, parse[v1alpha1.JobRunSpec](t, tc.want)), plain(t, &got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			added := *trigger.DeepCopy()
			for _, value := range definition.Added(trigger, &got) {
				added = *parse[v1alpha1.JobRunSpec](t, merged(t, &added, value))
			}
			if diff := cmp.Diff(plain(t, &got), plain(t, &added)); diff != "" {
				t.Errorf("Added misses something (-want +got):\n%s", diff)
			}
		})
	}
}

// plain returns a spec as text with sorted fields, without a null input.
func plain(t testing.TB, spec *v1alpha1.JobRunSpec) string {
	t.Helper()
	spec = spec.DeepCopy()
	if spec.Input != nil && string(spec.Input.Raw) == "null" {
		spec.Input = nil
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func merged(t testing.TB, spec *v1alpha1.JobRunSpec, value definition.Value) string {
	t.Helper()
	object := *parse[map[string]any](t, plain(t, spec))
	object[value.Name] = value.Value
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCompleteBadInput(t *testing.T) {
	const three = "inputSchema: {openAPIV3Schema: {type: object, required: [a], properties: {" +
		"a: {type: string}, b: {type: array, items: {type: object, required: [c], properties: {c: {type: integer, minimum: 5}}}}, d: {type: string, enum: [x, y]}}}}"
	tests := map[string]struct {
		definition, trigger string
		want                []string
		says                string
	}{
		"an input that fails in three places": {three, "input: {b: [{c: 6}, {c: 4}], d: z}", []string{"spec.input.a", "spec.input.b[1].c", "spec.input.d"}, ""},
		"an unknown field":                    {syncUsers(""), "input: {org: acme, ful: true}", []string{"spec.input.ful"}, "unknown field"},
		"an unknown field below":              {three, "input: {a: x, b: [{c: 6, e: 1}]}", []string{"spec.input.b[0].e"}, "unknown field"},
		"a required field":                    {syncUsers(""), "input: {full: true}", []string{"spec.input.org"}, "spec.input.org: Required value"},
		"no input":                            {syncUsers(""), "jobName: j", []string{"spec.input.org"}, "spec.input.org: Required value"},
		"null":                                {syncUsers(""), "input: null", []string{"spec.input.org"}, "Required value"},
		"no text":                             {"inputSchema: {openAPIV3Schema: {type: string}}", "jobName: j", []string{"spec.input"}, "Required value"},
		"another type":                        {syncUsers(""), "input: [org]", []string{"spec.input"}, "object"},
		"null for a text":                     {syncUsers(""), "input: {org: null}", []string{"spec.input.org"}, "string"},
		"a text that is too long":             {syncUsers(""), "input: {org: " + strings.Repeat("x", 41) + "}", []string{"spec.input.org"}, "40"},
		"an item twice":                       {"inputSchema: {openAPIV3Schema: {type: array, x-kubernetes-list-type: set, items: {type: string}}}", "input: [a, b, a]", []string{"spec.input[2]"}, "Duplicate"},
		"too many items":                      {"inputSchema: {openAPIV3Schema: {type: array, maxItems: 1, items: {type: string}}}", "input: [a, b]", []string{"spec.input"}, "1"},

		"no such field":      {"concurrencyKeyExpression: input.org", "input: {}", []string{"spec.concurrencyKey"}, "concurrencyKeyExpression of JobDefinition sync-users cannot be evaluated: no such key: org"},
		"no input for a key": {"concurrencyKeyExpression: input.org", "jobName: j", []string{"spec.concurrencyKey"}, "concurrencyKeyExpression"},
		"no such label":      {"idempotencyKeyExpression: labels.id", "jobName: j", []string{"spec.idempotencyKey"}, "idempotencyKeyExpression of JobDefinition sync-users"},
		"an optional field that is not there": {
			"inputSchema: {openAPIV3Schema: {type: object, properties: {a: {type: string}}}}\nconcurrencyKeyExpression: input.a", "input: {}",
			[]string{"spec.concurrencyKey"}, "concurrencyKeyExpression",
		},
		"a number":            {"concurrencyKeyExpression: input.num", "input: {num: 5}", []string{"spec.concurrencyKey"}, "type int, not string"},
		"an empty text":       {"concurrencyKeyExpression: input.num", "input: {num: ''}", []string{"spec.concurrencyKey"}, "empty text"},
		"300 characters":      {"concurrencyKeyExpression: input.num", "input: {num: " + strings.Repeat("é", 300) + "}", []string{"spec.concurrencyKey"}, "300 characters, more than 256"},
		"a control character": {"concurrencyKeyExpression: input.num", `input: {num: "a\u0000"}`, []string{"spec.concurrencyKey"}, "control character, U+0000"},
		"an evaluation too dear": {
			"concurrencyKeyExpression: 'labels.all(a, a != \"\") ? \"k\" : \"l\"'", "jobName: j", []string{"spec.concurrencyKey"}, "cost limit",
		},
		"both keys fail": {
			"concurrencyKeyExpression: input.a\nidempotencyKeyExpression: input.b", "input: {}", []string{"spec.concurrencyKey", "spec.idempotencyKey"}, "cannot be evaluated",
		},
		"another key than the computed one": {
			syncUsers(`concurrencyKeyExpression: '"org_" + input.org'`), "input: {org: a}\nconcurrencyKey: org_b", []string{"spec.concurrencyKey"}, `gives "org_a"`,
		},
		"another key than the default": {"defaults: {concurrencyKey: k}", "concurrencyKey: l", []string{"spec.concurrencyKey"}, "sets it to k"},
		"a key of nobody's":            {"description: x", "concurrencyKey: l", []string{"spec.concurrencyKey"}, "overridable"},
		"another value":                {"defaults: {maxAttempts: 4, coalesce: Skip}", "maxAttempts: 3", []string{"spec.maxAttempts"}, "sets it to 4"},
		"another ttl":                  {"defaults: {ttlSecondsAfterFinished: 0}", "ttlSecondsAfterFinished: 1", []string{"spec.ttlSecondsAfterFinished"}, "sets it to 0"},
		"fields that the definition does not name": {
			"overridable: [maxAttempts]", "{maxAttempts: 7, onJobLost: Fail, leaseDurationSeconds: 7, activeDeadlineSeconds: 7, ttlSecondsAfterFinished: 7}",
			[]string{"spec.activeDeadlineSeconds", "spec.leaseDurationSeconds", "spec.onJobLost", "spec.ttlSecondsAfterFinished"}, "overridable of JobDefinition sync-users",
		},
		"a wrong input and a field": {syncUsers(""), "input: {org: 1}\nmaxAttempts: 7", []string{"spec.input.org", "spec.maxAttempts"}, ""},
		"two templates":             {"template: {spec: {template: {spec: {containers: []}}}}", "template: {}", []string{"spec.template"}, "JobDefinition sync-users"},
	}
	many := map[string]string{}
	for i := range 30000 { // A label costs some units, and the estimate expects fewer labels.
		many[fmt.Sprintf("label-%d", i)] = "x"
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			labels := map[string]string{}
			if name == "an evaluation too dear" {
				labels = many
			}
			_, errs := compiled(t, tc.definition).Complete(parse[v1alpha1.JobRunSpec](t, tc.trigger), labels)
			if diff := cmp.Diff(tc.want, fieldsOf(errs)); diff != "" {
				t.Errorf("fields (-want +got):\n%s%v", diff, errs)
			}
			for _, err := range errs {
				if !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%q does not say %q", err, tc.says)
				}
			}
		})
	}
}

// A definition with a template accepts a trigger without one, and the other way round.
func TestCompleteWithOneTemplate(t *testing.T) {
	for name, spec := range map[string]string{"the definition's": "template: {spec: {}}", "the trigger's": "description: x"} {
		trigger := &v1alpha1.JobRunSpec{}
		if name == "the trigger's" {
			trigger.Template = &batchv1.JobTemplateSpec{}
		}
		if _, errs := compiled(t, spec).Complete(trigger, nil); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

// An input that is sent as the schema wants it keeps its text, so the webhook patches nothing.
func TestCompleteKeepsTheText(t *testing.T) {
	sent := &apiextensionsv1.JSON{Raw: []byte(`{ "org": "a<b", "full": false }`)}
	got, errs := compiled(t, syncUsers("")).Complete(&v1alpha1.JobRunSpec{Input: sent}, nil)
	if len(errs) > 0 || string(got.Input.Raw) != string(sent.Raw) {
		t.Errorf("got %s, %v", got.Input.Raw, errs)
	}
}

// A large number of the input keeps its digits beside a default.
func TestCompleteKeepsNumbers(t *testing.T) {
	d := compiled(t, "inputSchema: {openAPIV3Schema: {type: object, properties: {num: {type: number}, m: {type: integer, default: 1}}}}")
	got, errs := d.Complete(&v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(`{"num": 0.12345678901234567890}`)}}, nil)
	if len(errs) > 0 || string(got.Input.Raw) != `{"m":1,"num":0.12345678901234567890}` {
		t.Errorf("got %s, %v", got.Input.Raw, errs)
	}
}

// The largest input with nothing but errors is answered at once, with some of them.
func TestCompleteIsQuickToRefuse(t *testing.T) {
	items := strings.TrimSuffix(strings.Repeat("1,", 32000), ",")
	fields := &strings.Builder{}
	for i := range 7000 {
		fmt.Fprintf(fields, ",\"%d\":1", i)
	}
	for name, tc := range map[string]struct{ schema, input string }{
		"items":  {"{type: array, items: {type: string}}", "[" + items + "]"},
		"fields": {"{type: object}", "{" + fields.String()[1:] + "}"},
		"values": {"{type: object, additionalProperties: {type: string}}", "{" + fields.String()[1:] + "}"},
	} {
		d := compiled(t, "inputSchema: {openAPIV3Schema: "+tc.schema+"}")
		start := time.Now()
		_, errs := d.Complete(&v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(tc.input)}}, nil)
		if took := time.Since(start); took > 5*time.Second || len(errs) != 100 {
			t.Errorf("%s: %d errors in %s", name, len(errs), took)
		}
	}
}

func TestBuiltIns(t *testing.T) {
	spec := &v1alpha1.JobRunSpec{OnJobLost: v1alpha1.OnJobLostFail}
	definition.BuiltIns(spec)
	want := &v1alpha1.JobRunSpec{MaxAttempts: 3, OnLeaseExpired: v1alpha1.OnLeaseExpiredFail, OnJobLost: v1alpha1.OnJobLostFail}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
