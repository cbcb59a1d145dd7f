// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

var (
	schemas = []string{
		"", "{type: object, x-kubernetes-preserve-unknown-fields: true}", "{type: object, additionalProperties: {type: string}}",
		"{type: object, properties: {a: {type: string, default: x}, b: {type: object, default: {}, properties: {c: {type: integer, default: 1}}}}}",
		"{type: object, required: [a], properties: {a: {type: string, maxLength: 3}}}", "{type: string, nullable: true}", "{type: array, items: {type: string}, default: [x]}",
	}
	expressions = []string{
		"", `"k"`, "input.a", `"org_" + input.a`, `has(input.a) ? "x" : "y"`, "labels.team", `labels.?team.orValue("z")`, "input.map(k, k)[0]",
		`input.exists(k, k == "a") ? "1" : "2"`, `string(input.size())`,
	}
)

// drawDefinition draws a definition that compiles.
func drawDefinition(t *rapid.T) *definition.Definition {
	d := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{
		ConcurrencyKeyExpression: rapid.SampledFrom(expressions).Draw(t, "key"),
		IdempotencyKeyExpression: rapid.SampledFrom(expressions).Draw(t, "idempotency key"),
	}}
	if schema := rapid.SampledFrom(schemas).Draw(t, "schema"); schema != "" {
		d.Spec.InputSchema = parseYAML[v1alpha1.InputSchema]("openAPIV3Schema: " + schema)
	}
	d.Spec.Defaults = rapid.SampledFrom([]*v1alpha1.JobRunDefaults{
		nil, {Coalesce: v1alpha1.CoalesceSkip, MaxAttempts: 7}, {IdempotencyTTLSeconds: 9, OnJobLost: v1alpha1.OnJobLostFail}, {ConcurrencyKey: "d"},
	}).Draw(t, "defaults")
	d.Spec.Overridable = rapid.SampledFrom([][]v1alpha1.OverridableField{
		nil, {v1alpha1.OverridableConcurrencyKey, v1alpha1.OverridableMaxAttempts}, {v1alpha1.OverridableOnJobLost},
	}).Draw(t, "overridable")
	compiled, errs := definition.Compile(d)
	if len(errs) > 0 {
		t.Skip(errs)
	}
	return compiled
}

func drawTrigger(t *rapid.T) (*v1alpha1.JobRunSpec, map[string]string) {
	trigger := &v1alpha1.JobRunSpec{
		JobName:        "job",
		ConcurrencyKey: rapid.SampledFrom([]string{"", "", "", "k", "d"}).Draw(t, "sent key"),
		IdempotencyKey: rapid.SampledFrom([]string{"", "", "i"}).Draw(t, "sent idempotency key"),
		MaxAttempts:    rapid.SampledFrom([]int32{0, 0, 3, 7}).Draw(t, "attempts"),
	}
	if text := rapid.SampledFrom([]string{
		"", "null", "{}", `{"a": "b"}`, `{"a": "x", "c": "y", "b": {}}`, `{"z": "1", "y": "2", "x": "3", "a": "4"}`, `"s"`, `["a", "b"]`, "5", `{"a": null}`,
	}).Draw(t, "input"); text != "" {
		trigger.Input = &apiextensionsv1.JSON{Raw: []byte(text)}
	}
	return trigger, rapid.SampledFrom([]map[string]string{nil, {"team": "a"}, {"team": "b", "x": "y"}}).Draw(t, "labels")
}

// A completed trigger is a fixed point: completed again, it does not change. This holds with the fields that every stored JobRun
// shows, too.
func TestPropertyCompletedIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDefinition(t)
		trigger, labels := drawTrigger(t)
		once, errs := d.Complete(trigger, labels)
		if len(errs) > 0 {
			t.Skip(errs)
		}
		for _, stored := range []bool{false, true} {
			if stored {
				definition.BuiltIns(&once)
			}
			twice, errs := d.Complete(&once, labels)
			if len(errs) > 0 {
				t.Fatalf("refused when it is completed: %v", errs)
			}
			if diff := cmp.Diff(once, twice); diff != "" {
				t.Fatalf("stored=%t: changed again (-once +twice):\n%s", stored, diff)
			}
			if added := definition.Added(&once, &twice); len(added) > 0 {
				t.Fatalf("added again: %v", added)
			}
		}
	})
}

// The trigger replaces the JobRun that it became: what completion set is restored, and nothing else differs.
func TestPropertyTheTriggerIsRestored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDefinition(t)
		trigger, labels := drawTrigger(t)
		stored, errs := d.Complete(trigger, labels)
		if len(errs) > 0 {
			t.Skip(errs)
		}
		definition.BuiltIns(&stored)
		stored.Admission = &v1alpha1.Admission{Definition: &v1alpha1.DefinitionReference{Name: "job"}}
		sent := *reordered(trigger)
		definition.Restore(&sent, &stored)
		sent.Admission = stored.Admission
		if diff := cmp.Diff(stored, sent, cmp.Comparer(sameInput)); diff != "" {
			t.Fatalf("differs from what is stored (-stored +restored):\n%s", diff)
		}
	})
}

// The same trigger gets the same keys, or the same errors, each time, also from a definition that is compiled anew and for an input
// whose fields come in another order.
func TestPropertyKeysAreDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDefinition(t)
		trigger, labels := drawTrigger(t)
		want, wantErrs := d.Complete(trigger, labels)
		for range 10 {
			got, errs := d.Complete(reordered(trigger), labels)
			if got.ConcurrencyKey != want.ConcurrencyKey || got.IdempotencyKey != want.IdempotencyKey {
				t.Fatalf("got the keys %q and %q, then %q and %q", want.ConcurrencyKey, want.IdempotencyKey, got.ConcurrencyKey, got.IdempotencyKey)
			}
			if fmt.Sprint(errs) != fmt.Sprint(wantErrs) {
				t.Fatalf("got the errors %v, then %v", wantErrs, errs)
			}
		}
	})
}

// reordered returns a trigger whose input has sorted fields.
func reordered(trigger *v1alpha1.JobRunSpec) *v1alpha1.JobRunSpec {
	trigger = trigger.DeepCopy()
	var value any
	if trigger.Input != nil && json.Unmarshal(trigger.Input.Raw, &value) == nil {
		trigger.Input.Raw, _ = json.Marshal(value)
	}
	return trigger
}

// Any schema, expression and input is answered, and a key that comes out is a legal one.
func FuzzComplete(f *testing.F) {
	for _, schema := range schemas {
		for _, expression := range expressions {
			f.Add("openAPIV3Schema: "+schema, expression, `{"a": "b"}`)
		}
	}
	f.Add("openAPIV3Schema: {type: array, items: {type: integer}}", "string(input[0])", "[1e3, 5]")
	f.Add("openAPIV3Schema: {type: object, properties: {t: {type: string, format: date-time}}}", "string(input.t)", `{"t": "2026-01-02T03:04:05Z"}`)
	f.Fuzz(func(t *testing.T, schema, expression, input string) {
		if !json.Valid([]byte(input)) {
			return // The API server sends JSON.
		}
		d := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{ConcurrencyKeyExpression: expression}}
		d.Spec.InputSchema = parseYAML[v1alpha1.InputSchema](schema)
		compiled, errs := definition.Compile(d)
		if len(errs) > 0 {
			return
		}
		trigger := &v1alpha1.JobRunSpec{Input: &apiextensionsv1.JSON{Raw: []byte(input)}}
		got, errs := compiled.Complete(trigger, map[string]string{"team": "a"})
		if len(errs) > 0 {
			return
		}
		if expression != "" && got.ConcurrencyKey == "" {
			t.Errorf("no key from %q", expression)
		}
		if again, errs := compiled.Complete(&got, map[string]string{"team": "a"}); len(errs) > 0 || again.ConcurrencyKey != got.ConcurrencyKey {
			t.Errorf("completed again: %q, %v", again.ConcurrencyKey, errs)
		}
		stored, sent := got, *trigger
		stored.Admission = &v1alpha1.Admission{Definition: &v1alpha1.DefinitionReference{Name: "job"}}
		if definition.Restore(&sent, &stored); !sameInput(sent.Input, stored.Input) || sent.ConcurrencyKey != stored.ConcurrencyKey {
			t.Errorf("the trigger was not restored: %s, stored %s", sent.Input.Raw, stored.Input.Raw)
		}
	})
}

// sameInput reports whether two inputs are the same JSON. null is no input.
func sameInput(a, b *apiextensionsv1.JSON) bool {
	value := func(input *apiextensionsv1.JSON) (decoded any) {
		if input == nil {
			return nil
		}
		decoder := json.NewDecoder(bytes.NewReader(input.Raw))
		decoder.UseNumber()
		if decoder.Decode(&decoded) != nil {
			return string(input.Raw)
		}
		return decoded
	}
	return cmp.Equal(value(a), value(b))
}

// parseYAML returns nil if a text is not of that type.
func parseYAML[T any](text string) *T {
	into := new(T)
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		return nil
	}
	return into
}
