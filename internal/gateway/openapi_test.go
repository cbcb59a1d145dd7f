// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/spec3"

	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

func TestOpenAPI(t *testing.T) {
	g := newGate(t, apiserver.New())
	if _, err := g.document(); err != nil {
		t.Fatal(err)
	}
	answer := g.send("GET", "/openapi.json", "", "Authorization", "")
	var document spec3.OpenAPI
	answer.decode(&document)
	described := operations()
	for _, route := range g.routes() {
		method, path, _ := strings.Cut(route.pattern, " ")
		item := document.Paths.Paths[path]
		if item == nil {
			t.Errorf("%s is missing", path)
			continue
		}
		operation := map[string]*spec3.Operation{"GET": item.Get, "POST": item.Post, "DELETE": item.Delete}[method]
		if operation == nil || operation.OperationId == "" || operation.Summary == "" {
			t.Errorf("%s: %+v", route.pattern, operation)
			continue
		}
		if len(operation.Parameters) < len(route.query) {
			t.Errorf("%s has not all parameters", route.pattern)
		}
		if _, limited := operation.Responses.StatusCodeResponses[401]; limited == route.public {
			t.Errorf("%s: public %t, but 401 %t", route.pattern, route.public, limited)
		}
		delete(described, route.pattern)
	}
	for pattern := range described {
		t.Errorf("there is no route %s", pattern)
	}
	for _, reference := range regexp.MustCompile(`"\$ref":"#/components/schemas/(\w+)"`).FindAllStringSubmatch(answer.Body.String(), -1) {
		if document.Components.Schemas[reference[1]] == nil {
			t.Errorf("there is no schema %s", reference[1])
		}
	}
}

// Two operations have a header of their own.
func TestOpenAPIHasTheHeaders(t *testing.T) {
	var document spec3.OpenAPI
	newGate(t, apiserver.New()).send("GET", "/openapi.json", "").decode(&document)
	events := document.Paths.Paths["/v1/namespaces/{ns}/events"].Get
	trigger := document.Paths.Paths["/v1/namespaces/{ns}/jobs/{job}/runs"].Post
	for want, operation := range map[string]*spec3.Operation{"Last-Event-ID": events, "Idempotency-Key": trigger} {
		if !slices.ContainsFunc(operation.Parameters, func(p *spec3.Parameter) bool { return p.Name == want && p.In == "header" && p.Description != "" }) {
			t.Errorf("%s has no %s", operation.OperationId, want)
		}
	}
}

// The schema of a trigger's field is that of the CRD, with its bounds.
func TestOpenAPIHasTheBoundsOfTheCRD(t *testing.T) {
	text, err := newDocument(newGate(t, apiserver.New()).routes())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Required   []string
				Properties map[string]struct {
					Type, Description string
					MaxLength         int
					Enum              []string
				}
			}
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	key := document.Components.Schemas["TriggerRequest"].Properties["concurrencyKey"]
	if key.Type != "string" || key.MaxLength != 256 || !strings.HasPrefix(key.Description, "concurrencyKey is the key of the run.") {
		t.Errorf("concurrencyKey: %+v", key)
	}
	item := document.Components.Schemas["BatchItem"]
	if !reflect.DeepEqual(item.Required, []string{"jobName"}) || item.Properties["input"].Description == "" {
		t.Errorf("BatchItem: %+v", item.Required)
	}
	if phases := document.Components.Schemas["TriggerAnswer"].Properties["phase"].Enum; len(phases) != 7 {
		t.Errorf("phases: %v", phases)
	}
	for _, kind := range []string{"JobRun", "JobDefinition"} {
		for path, want := range map[string]string{"metadata": "ObjectMeta", "spec.template": "JobTemplate"} {
			if got := referenced(t, text, kind, path); got != "#/components/schemas/"+want {
				t.Errorf("%s of %s is %q", path, kind, got)
			}
		}
	}
	if name := document.Components.Schemas["ObjectMeta"].Properties["name"]; name.Type != "string" {
		t.Errorf("the name of an object: %+v", name)
	}
	if strings.Contains(string(text), `"x-kubernetes-`) {
		t.Error("has extensions of Kubernetes")
	}
}

// referenced returns to which component a field of a component refers.
func referenced(t *testing.T, document []byte, component, path string) string {
	t.Helper()
	var parsed spec3.OpenAPI
	if err := json.Unmarshal(document, &parsed); err != nil {
		t.Fatal(err)
	}
	schema := parsed.Components.Schemas[component]
	for _, name := range strings.Split(path, ".") {
		schema = new(schema.Properties[name])
	}
	if len(schema.AllOf) == 1 {
		schema = &schema.AllOf[0]
	}
	return schema.Ref.String()
}

func TestAFieldWithoutADescriptionIsAnError(t *testing.T) {
	type bare struct {
		Name string `json:"name"`
	}
	type wrong struct {
		Name string `json:"name" crd:"spec.nonsense"`
	}
	for _, bad := range []any{bare{}, wrong{}} {
		schemas, err := newSchemas()
		if err != nil {
			t.Fatal(err)
		}
		if schemas.of(reflect.TypeOf(bad)); len(schemas.errs) != 1 {
			t.Errorf("%T: %v", bad, schemas.errs)
		}
	}
	if _, err := newDocument([]route{{pattern: "GET /nowhere"}}); err == nil {
		t.Error("a route without an operation is described")
	}
}
