// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// review asks about a JobDefinition. An empty manifest of the old one means a create.
func review(t *testing.T, before, after string) admission.Response {
	t.Helper()
	return webhook.NewDefinitionHandler(webhook.Options{}).Handle(context.Background(), reviewRequest(t, before, after))
}

func reviewRequest(t *testing.T, before, after string) admission.Request {
	t.Helper()
	raw := func(manifest string) runtime.RawExtension {
		object, err := yaml.YAMLToJSON([]byte("metadata: {name: sync-users}\n" + manifest))
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: object}
	}
	request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Name: "sync-users", Object: raw(after)}}
	if before != "" {
		request.Operation, request.OldObject = admissionv1.Update, raw(before)
	}
	return request
}

func TestDefinition(t *testing.T) {
	schedules := func(rest string) string {
		return syncUsers + "schedules:\n- {name: nightly, schedule: '0 3 * * *'" + rest + "}\n"
	}
	costly := strings.Repeat("1", 100)
	tests := map[string]struct {
		spec   string
		fields []string
	}{
		"valid":                  {syncUsers + definedTemplate, nil},
		"valid, with a schedule": {schedules(", input: {org: acme}"), nil},
		"a schema that is not structural, and a bad template": {
			"inputSchema: {openAPIV3Schema: {properties: {}}}\ntemplate: {spec: {template: {spec: {restartPolicy: Always, containers: []}}}}",
			[]string{
				"spec.inputSchema.openAPIV3Schema.type", "spec.template.spec.template.spec.containers", "spec.template.spec.template.spec.restartPolicy",
			},
		},
		"an expression over an unknown field": {strings.Replace(syncUsers, "input.org", "input.orgs", 1), []string{"spec.concurrencyKeyExpression"}},
		"a costly quantity": {
			"template: {spec: {template: {spec: {containers: [{resources: {limits: {cpu: '" + costly + "'}}}]}}}}",
			[]string{"spec.template.spec.template.spec.containers[0].resources.limits[cpu]"},
		},
		"a template of very many parts":         {"template: {spec: {x: [" + strings.Repeat("{},", 10001) + "{}]}}", []string{"spec.template"}},
		"a definition of 512 KiB":               {"description: " + strings.Repeat("x", 512<<10), []string{"spec"}},
		"a description of another type":         {"description: {a: 1}", []string{"spec.description"}},
		"a schedule that never fires":           {syncUsers + "schedules: [{name: a, schedule: '0 0 31 2 *', input: {org: a}}]", []string{"spec.schedules[0].schedule"}},
		"an unknown time zone":                  {schedules(", timeZone: Europe/Nowhere, input: {org: a}"), []string{"spec.schedules[0].timeZone"}},
		"a schedule whose input does not fit":   {schedules(", input: {org: 5, x: 1}"), []string{"spec.schedules[0].input.org", "spec.schedules[0].input.x"}},
		"a schedule without the input":          {schedules(""), []string{"spec.schedules[0].input.org"}},
		"a schedule whose input gives no key":   {schedules(", input: {org: \"\\u0001\"}"), []string{"spec.schedules[0].input"}},
		"a schedule with an input of 65 levels": {schedules(", input: {org: " + nested(65) + "}"), []string{"spec.schedules[0].input"}},
		"a schedule with an input of 64 KiB":    {schedules(", input: {org: " + strings.Repeat("x", 64<<10) + "}"), []string{"spec.schedules[0].input"}},
		"a receiver":                            {syncUsers + "receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, filterExpression: 'body.a == 1', inputExpression: '{\"org\": body.b}'}]\n", nil},
		"a receiver with bad expressions": {
			syncUsers + "receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, filterExpression: '1', inputExpression: '{'}]\n",
			[]string{"spec.receivers[0].filterExpression", "spec.receivers[0].inputExpression"},
		},
		"a receiver whose id is a secret":        {syncUsers + "receivers: [{name: a, type: HMAC, secretRef: {name: s, key: k}, idempotencyHeader: X-Gitlab-Token}]\n", []string{"spec.receivers[0].idempotencyHeader"}},
		"a schedule, and a schema that is wrong": {"inputSchema: {openAPIV3Schema: {}}\nschedules: [{name: a, schedule: '@daily'}]", []string{"spec.inputSchema.openAPIV3Schema.type"}},
	}
	for name, tc := range tests {
		for _, before := range []string{"", "spec: {description: before}"} {
			response := review(t, before, "spec:\n"+indented(tc.spec))
			if tc.fields == nil {
				if !response.Allowed {
					t.Errorf("%s: refused: %+v", name, response.Result)
				}
				continue
			}
			if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Kind != "JobDefinition" {
				t.Errorf("%s: got %+v", name, response.Result)
				continue
			}
			if diff := cmp.Diff(tc.fields, causes(response)); diff != "" {
				t.Errorf("%s: fields (-want +got):\n%s%s", name, diff, response.Result.Message)
			}
		}
	}
}

// An update that leaves the spec as it is passes, also for a definition that would be refused today.
func TestDefinitionWithTheSameSpec(t *testing.T) {
	const wrong = "spec: {concurrencyKeyExpression: 'input +', description: x}\n"
	for name, after := range map[string]string{
		"nothing":     wrong,
		"the order":   "spec: {description: x, concurrencyKeyExpression: 'input +'}\n",
		"the status":  wrong + "status: {waiting: 1}\n",
		"another top": "apiVersion: batch.jobrun.dev/v1beta1\n" + wrong,
	} {
		if response := review(t, wrong, after); !response.Allowed {
			t.Errorf("%s: %+v", name, response.Result)
		}
	}
	if response := review(t, wrong, "spec: {concurrencyKeyExpression: 'input +', description: y}\n"); response.Allowed {
		t.Error("a changed spec was not checked")
	}
}

func TestDefinitionWarnings(t *testing.T) {
	const schema = "inputSchema: {openAPIV3Schema: {type: object, properties: {org: {type: string}, a-b: {type: string}, a_b: {type: string}}}}\n"
	many := func(fields int) string {
		var properties strings.Builder
		for i := range fields {
			fmt.Fprintf(&properties, "f%03d: {type: string}, ", i)
		}
		return "inputSchema: {openAPIV3Schema: {type: object, properties: {" + properties.String() + "a: {type: array, items: {type: string}}}}}\n"
	}
	for name, tc := range map[string]struct {
		spec string
		want int
		says string
	}{
		"fields that share a variable":    {schema + definedTemplate, 2, `the input field "a-b" gets no variable`},
		"a worker gets no variables":      {schema, 0, ""},
		"each field has its own variable": {syncUsers + definedTemplate, 0, ""},
		"as many as get one":              {many(256) + definedTemplate, 0, ""},
		"more than get one":               {many(300) + definedTemplate, 1, `for the 44 fields from "f256" on`},
		"more for a worker":               {many(300), 0, ""},
	} {
		response := review(t, "", "spec:\n"+indented(tc.spec))
		if !response.Allowed || len(response.Warnings) != tc.want || tc.says != "" && !strings.Contains(response.Warnings[0], tc.says) {
			t.Errorf("%s: allowed %t, warnings %q", name, response.Allowed, response.Warnings)
		}
	}
}

// Whoever writes a template needs the right to create Jobs, and learns nothing else before.
func TestDefinitionNeedsTheRightToCreateJobs(t *testing.T) {
	denied := webhook.Options{Authorizer: authorizer.AuthorizerFunc(
		func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionDeny, "", nil
		},
	)}
	for name, tc := range map[string]struct {
		before, after string
		want          int32
	}{
		"a template":              {"", "spec:\n" + indented(syncUsers+definedTemplate), http.StatusForbidden},
		"none":                    {"", "spec:\n" + indented(syncUsers), 0},
		"the template stays":      {"spec:\n" + indented(definedTemplate), "spec:\n" + indented("suspend: true\n"+definedTemplate), 0},
		"a template comes":        {"spec: {description: before}", "spec:\n" + indented(definedTemplate), http.StatusForbidden},
		"wrong, and not allowed":  {"", "spec:\n" + indented("concurrencyKeyExpression: '?'\n"+definedTemplate), http.StatusForbidden},
		"wrong, without template": {"", "spec: {concurrencyKeyExpression: '?'}", http.StatusUnprocessableEntity},
	} {
		response := webhook.NewDefinitionHandler(denied).Handle(t.Context(), reviewRequest(t, tc.before, tc.after))
		if response.Allowed != (tc.want == 0) || !response.Allowed && response.Result.Code != tc.want {
			t.Errorf("%s: allowed %t, %+v; want %d", name, response.Allowed, response.Result, tc.want)
		}
	}
}

func TestCheckDefinition(t *testing.T) {
	for spec, want := range map[string]string{
		syncUsers:                                                        v1alpha1.ReasonDefinitionValid,
		"inputSchema: {openAPIV3Schema: {}}\n":                           v1alpha1.ReasonInvalidInputSchema,
		"idempotencyKeyExpression: input +\n":                            v1alpha1.ReasonInvalidExpression,
		"schedules: [{name: a, schedule: '0 0 31 2 *'}]\n":               v1alpha1.ReasonInvalidSchedule,
		"receivers: [{name: a, filterExpression: '1'}]\n":                v1alpha1.ReasonInvalidExpression,
		"template: {spec: {template: {spec: {restartPolicy: Never}}}}\n": v1alpha1.ReasonInvalidDefinition,
	} {
		var stored v1alpha1.JobDefinition
		if err := yaml.Unmarshal([]byte("metadata: {name: sync-users}\nspec:\n"+indented(spec)), &stored); err != nil {
			t.Fatal(err)
		}
		reason, message := webhook.CheckDefinition(&stored)
		if reason != want || (message == "") != (want == v1alpha1.ReasonDefinitionValid) {
			t.Errorf("%s: %s, %q; want %s", spec, reason, message, want)
		}
	}
}
