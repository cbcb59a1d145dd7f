// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJobDefinitionSpec(t *testing.T) {
	const label = "must be a DNS-1123 label"
	for name, tc := range map[string]struct {
		spec string
		want refusal
	}{
		"a description": {spec: "description: x"},
		"everything": {spec: "description: x, suspend: true, inputSchema: {openAPIV3Schema: {type: object}}, concurrencyKeyExpression: input.a, " +
			"idempotencyKeyExpression: input.b, defaults: {coalesce: Skip, ttlSecondsAfterFinished: 0}, overridable: [coalesce, onJobLost], " +
			"template: {spec: {template: {spec: {containers: [{name: main}]}}}}, " +
			"schedules: [{name: a, schedule: '0 3 * * *', timeZone: Europe/Berlin, input: [1], suspend: false, startingDeadlineSeconds: 600}], " +
			"receivers: [{name: a, type: GitHub, secretRef: {name: s.t, key: k_1.a-B}, events: [push], filterExpression: 'true', inputExpression: body, idempotencyHeader: X-My_Id}], " +
			"successfulRunsHistoryLimit: 0, failedRunsHistoryLimit: 10000"},
		"a description of two lines":           {`description: "a\nb"`, refusal{"spec.description", "must be one line"}},
		"no schema":                            {"inputSchema: {}", refusal{"spec.inputSchema.openAPIV3Schema", "Required value"}},
		"a schema that is a text":              {"inputSchema: {openAPIV3Schema: text}", refusal{"spec.inputSchema.openAPIV3Schema", "object"}},
		"a key by expression and by default":   {"concurrencyKeyExpression: input.a, defaults: {concurrencyKey: k}", refusal{"spec.defaults.concurrencyKey", "must not have defaults.concurrencyKey"}},
		"a key by expression and by trigger":   {"concurrencyKeyExpression: input.a, overridable: [concurrencyKey]", refusal{"spec.overridable", "cannot leave concurrencyKey"}},
		"a default key with U+0001":            {`defaults: {concurrencyKey: "a\u0001"}`, refusal{"spec.defaults.concurrencyKey", "control characters"}},
		"no defaults":                          {"defaults: {}", refusal{"spec.defaults", "at least 1"}},
		"an input among the overridable":       {"overridable: [input]", refusal{"spec.overridable[0]", "Unsupported value"}},
		"a field twice among them":             {"overridable: [coalesce, coalesce]", refusal{"spec.overridable[1]", "Duplicate value"}},
		"a time zone in a schedule":            {"schedules: [{name: a, schedule: 'TZ=UTC 0 3 * * *'}]", refusal{"spec.schedules[0].schedule", "use timeZone"}},
		"a CRON_TZ in a schedule":              {"schedules: [{name: a, schedule: 'CRON_TZ=UTC 0 3 * * *'}]", refusal{"spec.schedules[0].schedule", "use timeZone"}},
		"a schedule whose name is no label":    {"schedules: [{name: A, schedule: '@daily'}]", refusal{"spec.schedules[0].name", label}},
		"two schedules of one name":            {"schedules: [{name: a, schedule: '@daily'}, {name: a, schedule: '@hourly'}]", refusal{"spec.schedules[1]", "Duplicate value"}},
		"a schedule without a name":            {"schedules: [{schedule: '@daily'}]", refusal{"spec.schedules[0].name", "Required value"}},
		"a receiver whose name is no label":    {"receivers: [{name: A, type: HMAC, secretRef: {name: s, key: k}}]", refusal{"spec.receivers[0].name", label}},
		"two receivers of one name":            {"receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}}, {name: a, type: GitHub, secretRef: {name: s, key: k}}]", refusal{"spec.receivers[1]", "Duplicate value"}},
		"a receiver of an unknown type":        {"receivers: [{name: a, type: Slack, secretRef: {name: s, key: k}}]", refusal{"spec.receivers[0].type", "Unsupported value"}},
		"a receiver without a type":            {"receivers: [{name: a, secretRef: {name: s, key: k}}]", refusal{"spec.receivers[0].type", "Required value"}},
		"a receiver without a secret":          {"receivers: [{name: a, type: HMAC}]", refusal{"spec.receivers[0].secretRef", "Required value"}},
		"a receiver with a key of no Secret":   {"receivers: [{name: a, type: HMAC, secretRef: {name: s, key: a/b}}]", refusal{"spec.receivers[0].secretRef.key", "must be a key of a Secret"}},
		"a receiver with no name of a Secret":  {"receivers: [{name: a, type: HMAC, secretRef: {name: S, key: k}}]", refusal{"spec.receivers[0].secretRef.name", "must be the name of a Secret"}},
		"a receiver with no name of a header":  {"receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, idempotencyHeader: 'a b'}]", refusal{"spec.receivers[0].idempotencyHeader", "must be the name of a header"}},
		"an event twice":                       {"receivers: [{name: a, type: GitHub, secretRef: {name: s, key: k}, events: [push, push]}]", refusal{"spec.receivers[0].events[1]", "Duplicate value"}},
		"an event of an HMAC":                  {"receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, events: [push]}]", refusal{"spec.receivers[0].events", "has no events"}},
		"a policy that there is not":           {"defaults: {coalesce: Replace}", refusal{"spec.defaults.coalesce", "Unsupported value"}},
		"a policy for the end that is unknown": {"defaults: {onJobLost: Retry}", refusal{"spec.defaults.onJobLost", "Unsupported value"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object(t, "JobDefinition", "metadata: {generateName: job-}\nspec: {"+tc.spec+"}")
			tc.want.check(t, newClient(t).Create(context.Background(), o))
		})
	}
}

func TestJobDefinitionName(t *testing.T) {
	const label = "metadata.name must be a DNS-1123 label"
	for name, want := range map[string]refusal{
		"sync-users": {}, strings.Repeat("n", 63): {}, strings.Repeat("n", 64): {"<nil>", label}, "sync.users": {"<nil>", label},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object(t, "JobDefinition", "metadata: {name: "+name+"}\nspec: {description: x}")
			want.check(t, newClient(t).Create(context.Background(), o))
		})
	}
}

func TestJobDefinitionBounds(t *testing.T) {
	testBounds(t, "JobDefinition", strconv.Itoa, []bounds{
		{"spec.successfulRunsHistoryLimit", "spec: {successfulRunsHistoryLimit: %s}", 0, 10000},
		{"spec.failedRunsHistoryLimit", "spec: {failedRunsHistoryLimit: %s}", 0, 10000},
		{"spec.defaults.maxAttempts", "spec: {defaults: {maxAttempts: %s}}", 1, 1000},
		{"spec.defaults.leaseDurationSeconds", "spec: {defaults: {leaseDurationSeconds: %s}}", 1, 86400},
		{"spec.defaults.idempotencyTTLSeconds", "spec: {defaults: {idempotencyTTLSeconds: %s}}", 1, 604800},
		{"spec.defaults.activeDeadlineSeconds", "spec: {defaults: {activeDeadlineSeconds: %s}}", 1, 0},
		{"spec.defaults.ttlSecondsAfterFinished", "spec: {defaults: {ttlSecondsAfterFinished: %s}}", 0, 0},
		{"spec.schedules[0].startingDeadlineSeconds", "spec: {schedules: [{name: a, schedule: '@daily', startingDeadlineSeconds: %s}]}", 1, 31536000},
	})
	testBounds(t, "JobDefinition", characters, []bounds{
		{"spec.description", "spec: {description: %s}", 1, 256},
		{"spec.concurrencyKeyExpression", "spec: {concurrencyKeyExpression: %s}", 1, 1024},
		{"spec.idempotencyKeyExpression", "spec: {idempotencyKeyExpression: %s}", 1, 1024},
		{"spec.defaults.concurrencyKey", "spec: {defaults: {concurrencyKey: %s}}", 1, 256},
		{"spec.schedules[0].schedule", "spec: {schedules: [{name: a, schedule: %s}]}", 1, 256},
		{"spec.receivers[0].filterExpression", "spec: {receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, filterExpression: %s}]}", 1, 4096},
		{"spec.receivers[0].inputExpression", "spec: {receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, inputExpression: %s}]}", 1, 4096},
		{"spec.receivers[0].events[0]", "spec: {receivers: [{name: a, type: GitHub, secretRef: {name: s, key: k}, events: [%s]}]}", 1, 128},
		{"spec.schedules[0].timeZone", "spec: {schedules: [{name: a, schedule: '@daily', timeZone: %s}]}", 1, 64},
	})
	letters := func(n int) string { return strconv.Quote(strings.Repeat("a", n)) }
	testBounds(t, "JobDefinition", letters, []bounds{
		{"spec.receivers[0].idempotencyHeader", "spec: {receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, idempotencyHeader: %s}]}", 1, 128},
		{"spec.receivers[0].secretRef.name", "spec: {receivers: [{name: a, type: HMAC, secretRef: {name: %s, key: k}}]}", 1, 253},
		{"spec.receivers[0].secretRef.key", "spec: {receivers: [{name: a, type: HMAC, secretRef: {name: s, key: %s}}]}", 1, 253},
		{"spec.receivers[0].name", "spec: {receivers: [{name: %s, type: HMAC, secretRef: {name: s, key: k}}]}", 1, 63},
	})
}

// A schema and an input are stored whole, whatever is in them.
func TestJobDefinitionKeepsUntypedFields(t *testing.T) {
	d := create(t, "JobDefinition", "spec: {inputSchema: {openAPIV3Schema: {type: object, unknown: {x: 1}}}, schedules: [{name: a, schedule: '@daily', input: {z: [2]}}]}")
	want := map[string]any{
		"inputSchema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "unknown": map[string]any{"x": int64(1)}}},
		"schedules":   []any{map[string]any{"name": "a", "schedule": "@daily", "input": map[string]any{"z": []any{int64(2)}}}},

		"successfulRunsHistoryLimit": int64(100), "failedRunsHistoryLimit": int64(100),
	}
	if diff := cmp.Diff(want, d.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}
