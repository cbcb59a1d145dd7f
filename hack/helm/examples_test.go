// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// The chart's defaults are those of the examples: without them, a proxy cuts streams and refuses large inputs.
func TestChartHasTheGatewayOfTheExamples(t *testing.T) {
	want := map[string]unstructured.Unstructured{}
	for _, name := range []string{"httproute", "ingress"} {
		text, err := os.ReadFile(checkout.Path("examples/gateway/" + name + ".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(want, parse(t, string(text)))
	}
	if len(want) != 3 {
		t.Fatalf("the examples have %d objects", len(want))
	}
	objects := rendered(t, map[string]any{"gateway": map[string]any{
		"enabled": true,
		"ingress": map[string]any{
			"enabled": true, "className": "nginx", "hosts": []any{"jobs.example.com"},
			"tls": []any{map[string]any{"hosts": []any{"jobs.example.com"}, "secretName": "jobs-example-com-tls"}},
		},
		"httpRoute": map[string]any{
			"enabled": true, "hostnames": []any{"jobs.example.com"},
			"parentRefs": []any{map[string]any{"name": "public", "namespace": "gateways"}},
		},
	}})
	got := map[string]unstructured.Unstructured{}
	for id := range want {
		object := objects[id]
		unstructured.RemoveNestedField(object.Object, "metadata", "labels") // of the chart alone
		got[id] = object
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-example +chart):\n%s", diff)
	}
}
