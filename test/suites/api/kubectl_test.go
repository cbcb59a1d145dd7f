// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestFieldSelectors(t *testing.T) {
	jobName := "selected"
	for _, manifest := range []string{
		`{metadata: {name: selected-1}, spec: {jobName: selected, concurrencyKey: "a/b"}}`,
		`{metadata: {name: selected-2}, spec: {jobName: selected, concurrencyKey: "a/b"}}`,
		`{metadata: {name: selected-3}, spec: {jobName: selected, concurrencyKey: c}}`,
		`{metadata: {name: selected-4}, spec: {jobName: selected-not, concurrencyKey: "a/b"}}`,
	} {
		create(t, "JobRun", manifest)
	}
	mustPatchStatus(t, object(t, "JobRun", "metadata: {name: selected-2}"), "{phase: Pending}")

	for name, tc := range map[string]struct {
		selector client.MatchingFields
		want     []string
	}{
		"job":           {client.MatchingFields{"spec.jobName": jobName}, []string{"selected-1", "selected-2", "selected-3"}},
		"job and key":   {client.MatchingFields{"spec.jobName": jobName, "spec.concurrencyKey": "a/b"}, []string{"selected-1", "selected-2"}},
		"phase":         {client.MatchingFields{"spec.jobName": jobName, "status.phase": "Pending"}, []string{"selected-2"}},
		"no phase":      {client.MatchingFields{"spec.jobName": jobName, "status.phase": ""}, []string{"selected-1", "selected-3"}},
		"another phase": {client.MatchingFields{"spec.jobName": jobName, "status.phase": "Leased"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var runs v1alpha1.JobRunList
			if err := newClient(t).List(context.Background(), &runs, client.InNamespace(namespace), tc.selector); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, run := range runs.Items {
				got = append(got, run.Name)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("another field", func(t *testing.T) {
		err := newClient(t).List(context.Background(), &v1alpha1.JobRunList{}, client.MatchingFields{"spec.coalesce": "Skip"})
		if !apierrors.IsBadRequest(err) {
			t.Errorf("want a refusal, got %v", err)
		}
	})
}

// kubectl get prints the columns of priority 0. A long key widens no other row, because it is the last one. With -o wide it prints the others too.
func TestColumns(t *testing.T) {
	run := create(t, "JobRun", "{metadata: {name: columns}, spec: {jobName: sync, concurrencyKey: org_acme}}")
	mustPatchStatus(t, run, `{phase: Leased, runRef: {name: columns}, lease: {generation: 1, holderIdentity: worker-1}, attempts: 2,
		coalesced: {count: 4}, error: quota}`)
	create(t, "RunKey", `{metadata: {name: columns}, spec: {kind: Concurrency, jobName: sync, key: org_acme,
		pending: {runName: p, token: t}, leased: {runName: l, token: t, generation: 1}}}`)
	create(t, "RunKey", "{metadata: {name: columns-i}, spec: {kind: Idempotency, jobName: sync, key: i, owner: {runName: o, token: t}}}")

	for path, want := range map[string]string{
		"jobruns/columns":   "Name=columns Job=sync Phase=Leased Run=columns Coalesced=4 Age=* Key=org_acme (wide) Holder=worker-1 Attempts=2 Error=quota",
		"runkeys/columns":   "Name=columns Kind=Concurrency Job=sync Pending=p Leased=l Age=* Key=org_acme (wide) Line=<nil> Owner=<nil> Outcome=<nil>",
		"runkeys/columns-i": "Name=columns-i Kind=Idempotency Job=sync Pending=<nil> Leased=<nil> Age=* Key=i (wide) Line=<nil> Owner=o Outcome=<nil>",
	} {
		if got := columns(t, path); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", path, got, want)
		}
	}
}

// columns returns the columns of an object in the order in which kubectl prints them.
func columns(t *testing.T, path string) string {
	t.Helper()
	table := &metav1.Table{}
	body, err := restClient(t).Get().Namespace(namespace).Suffix(path).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(context.Background())
	if err == nil {
		err = json.Unmarshal(body, table)
	}
	if err != nil || len(table.Rows) != 1 {
		t.Fatalf("get %s as a table: %v, %d rows", path, err, len(table.Rows))
	}
	var narrow, wide []string
	for i, column := range table.ColumnDefinitions {
		cell := fmt.Sprintf("%s=%v", column.Name, table.Rows[0].Cells[i])
		if column.Name == "Age" {
			cell = "Age=*"
		}
		if column.Priority == 0 {
			narrow = append(narrow, cell)
		} else {
			wide = append(wide, cell)
		}
	}
	return strings.Join(append(append(narrow, "(wide)"), wide...), " ")
}

func restClient(t *testing.T) rest.Interface {
	t.Helper()
	config := rest.CopyConfig(newConfig(t))
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubectl get knows the short names. kubectl get all shows JobRuns and no RunKeys.
func TestNames(t *testing.T) {
	resources, err := discovery.NewDiscoveryClientForConfigOrDie(newConfig(t)).ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range resources.APIResources {
		got[r.Name] = fmt.Sprintf("%s %v %v namespaced=%v", r.Kind, r.ShortNames, r.Categories, r.Namespaced)
	}
	want := map[string]string{
		"jobdefinitions":        "JobDefinition [jd] [all] namespaced=true",
		"jobdefinitions/status": "JobDefinition [] [] namespaced=true",
		"jobruns":               "JobRun [jr] [all] namespaced=true",
		"jobruns/status":        "JobRun [] [] namespaced=true",
		"runkeys":               "RunKey [rk] [] namespaced=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

// kubectl explain prints the descriptions of the published schema. Those below template come from Kubernetes.
func TestEveryFieldIsDescribed(t *testing.T) {
	published := &spec3.OpenAPI{}
	body, err := restClient(t).Get().AbsPath("/openapi/v3/apis", v1alpha1.GroupVersion.String()).DoRaw(context.Background())
	if err == nil {
		err = json.Unmarshal(body, published)
	}
	if err != nil {
		t.Fatal(err)
	}
	for kind, fields := range map[string]int{"JobRun": 60, "RunKey": 20, "JobDefinition": 40} {
		schema, ok := published.Components.Schemas["dev.jobrun.batch.v1alpha1."+kind]
		if !ok {
			t.Fatalf("no schema of %s is published", kind)
		}
		if n := checkDescriptions(t, kind, schema); n < fields {
			t.Errorf("only %d fields of %s were looked at, want at least %d", n, kind, fields)
		}
	}
}

// checkDescriptions returns how many descriptions it has seen.
func checkDescriptions(t *testing.T, path string, schema *spec.Schema) int {
	t.Helper()
	if strings.TrimSpace(schema.Description) == "" {
		t.Errorf("%s has no description", path)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		schema = schema.Items.Schema
	}
	n := 1
	if strings.HasSuffix(path, ".spec.template") {
		return n
	}
	for name, property := range schema.Properties {
		n += checkDescriptions(t, path+"."+name, &property)
	}
	return n
}
