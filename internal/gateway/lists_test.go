// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func newFake(t *testing.T, objects ...client.Object) client.WithWatch {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	byJob := func(o client.Object) []string { return []string{o.(*v1alpha1.JobRun).Spec.JobName} }
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithIndex(&v1alpha1.JobRun{}, "spec.jobName", byJob).Build()
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name}
}

func TestListRuns(t *testing.T) {
	other := named("c")
	other.Namespace = "other"
	g := newGate(t, newFake(t,
		&v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}},
		&v1alpha1.JobRun{ObjectMeta: named("b"), Spec: v1alpha1.JobRunSpec{JobName: "index"}},
		&v1alpha1.JobRun{ObjectMeta: other, Spec: v1alpha1.JobRunSpec{JobName: "sync"}},
	))
	for path, want := range map[string]string{
		"/v1/namespaces/default/runs":              "a b",
		"/v1/namespaces/default/runs?jobName=sync": "a",
		"/v1/runs":                      "a b c",
		"/v1/runs?jobName=sync":         "a c",
		"/v1/runs?labels=team%3Dnobody": "",
	} {
		got := g.send("GET", path, "")
		var list v1alpha1.JobRunList
		got.decode(&list)
		var names []string
		for _, run := range list.Items {
			names = append(names, run.Name)
			if run.Kind != "JobRun" {
				t.Errorf("%s: %+v", path, run)
			}
		}
		if got.Code != 200 || strings.Join(names, " ") != want || list.Kind != "JobRunList" {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	g.send("GET", "/v1/runs?phase=completed", "").wantStatus(400, metav1.StatusReasonBadRequest)
	g.denied["list /jobruns/"] = true
	g.send("GET", "/v1/runs", "").wantStatus(403, metav1.StatusReasonForbidden)
}

func TestRunRoutesAskForTheirVerb(t *testing.T) {
	for route, verb := range map[string]string{
		"GET /v1/namespaces/default/runs/a": "get", "DELETE /v1/namespaces/default/runs/a": "delete",
		"POST /v1/namespaces/default/runs/a/cancel": "update", "POST /v1/namespaces/default/runs/a/retrigger": "get",
	} {
		method, path, _ := strings.Cut(route, " ")
		g := newGate(t, newFake(t, &v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}}))
		g.denied[verb+" default/jobruns/a"] = true
		g.send(method, path, "").wantStatus(403, metav1.StatusReasonForbidden)
		g.denied = nil
		if got := g.send(method, path, ""); got.Code >= 300 {
			t.Errorf("%s: %d %s", route, got.Code, got.Body)
		}
	}
}

func TestListKeys(t *testing.T) {
	row := func(name string, change func(*v1alpha1.RunKeySpec)) *v1alpha1.RunKey {
		key := &v1alpha1.RunKey{ObjectMeta: named(name), Spec: v1alpha1.RunKeySpec{Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: name}}
		change(&key.Spec)
		return key
	}
	waits := func(name string) *v1alpha1.PendingRun {
		return &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: name, Token: "t"}}
	}
	g := newGate(t, newFake(t,
		row("busy", func(s *v1alpha1.RunKeySpec) {
			s.Pending = waits("b")
			s.Leased = &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "a", Token: "t"}, Generation: 2}
		}),
		row("in-line", func(s *v1alpha1.RunKeySpec) { s.Line = waits("c") }),
		row("free", func(s *v1alpha1.RunKeySpec) { s.Unconfirmed = []v1alpha1.UnconfirmedJob{{Job: "j", Token: "t"}} }),
		row("once", func(s *v1alpha1.RunKeySpec) {
			s.Kind, s.Owner = v1alpha1.RunKeyIdempotency, &v1alpha1.RunIdentity{RunName: "d"}
		}),
		row("other", func(s *v1alpha1.RunKeySpec) { s.JobName, s.Pending = "index", waits("e") }),
	))
	const busy = `{"jobName":"sync","concurrencyKey":"busy","waiting":{"run":"b"},"executing":{"run":"a","generation":2}}`
	const inLine = `{"jobName":"sync","concurrencyKey":"in-line","waiting":{"run":"c"}}`
	got := g.send("GET", "/v1/namespaces/default/keys?jobName=sync", "")
	if want := `{"items":[` + busy + `,` + inLine + `]}`; strings.TrimSpace(got.Body.String()) != want {
		t.Errorf("%s\nwant %s", got.Body, want)
	}
	if got := g.send("GET", "/v1/namespaces/default/keys", ""); strings.Count(got.Body.String(), "concurrencyKey") != 3 {
		t.Errorf("%s", got.Body)
	}
}

func TestListDefinitions(t *testing.T) {
	g := newGate(t, newFake(t, &v1alpha1.JobDefinition{ObjectMeta: named("sync")}))
	got := g.send("GET", "/v1/namespaces/default/definitions", "")
	if !strings.Contains(got.Body.String(), `"kind":"JobDefinition","apiVersion":"batch.jobrun.dev/v1alpha1"`) {
		t.Errorf("%s", got.Body)
	}
}

func TestListNamespaces(t *testing.T) {
	g := newGate(t, newFake(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "b"}}))
	for denied, want := range map[string]string{"": `{"items":["a","b"]}`, "list /jobruns/": `{"items":["a"]}`} {
		g.denied = map[string]bool{denied: true, "list b/jobruns/": true}
		if got := g.send("GET", "/v1/namespaces", ""); strings.TrimSpace(got.Body.String()) != want {
			t.Errorf("%s, want %s", got.Body, want)
		}
	}
	g.send("GET", "/v1/namespaces?continue=A_B", "").wantStatus(400, metav1.StatusReasonBadRequest)
}

// pagedAPI is an API server whose pages have two namespaces, and whose continue names the last one.
type pagedAPI struct {
	client.WithWatch
	names []string
}

func (p pagedAPI) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	all := list.(*metav1.PartialObjectMetadataList)
	all.Items, all.Continue = nil, ""
	first, _ := slices.BinarySearch(p.names, asked.Continue)
	if asked.Continue != "" {
		first++
	}
	last := min(first+2, len(p.names))
	for _, name := range p.names[first:last] {
		all.Items = append(all.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	if last < len(p.names) {
		all.Continue = p.names[last-1]
	}
	return nil
}

// The pages of a caller have no word of the namespaces that it may not know of, and none is missing.
func TestPagesOfNamespaces(t *testing.T) {
	g := newGate(t, pagedAPI{names: []string{"a", "b", "b-secret", "c", "d-secret", "e", "f-secret"}})
	g.denied = map[string]bool{"list /jobruns/": true}
	for _, secret := range []string{"b-secret", "d-secret", "f-secret"} {
		g.denied["list "+secret+"/jobruns/"] = true
	}
	for limit, want := range map[string]string{"1": "a|b|c|e|", "2": "a b|c e|", "3": "a b c|e", "4": "a b c e|", "5": "a b c e"} {
		var pages []string
		for next := ""; ; {
			got := g.send("GET", "/v1/namespaces?limit="+limit+"&continue="+next, "")
			if strings.Contains(got.Body.String(), "secret") {
				t.Fatal(got.Body)
			}
			var list NamespaceList
			got.decode(&list)
			pages = append(pages, strings.Join(list.Items, " "))
			if next = list.Continue; next == "" {
				break
			}
		}
		if got := strings.Join(pages, "|"); got != want {
			t.Errorf("limit %s: %q, want %q", limit, got, want)
		}
	}
}

// A list of namespaces asks for many rights, so a caller has one under way.
func TestListsOfNamespacesAreBounded(t *testing.T) {
	g := newGate(t, pagedAPI{names: []string{"a"}})
	leave, err := g.enterNamespaces("ann")
	if err != nil {
		t.Fatal(err)
	}
	got := g.send("GET", "/v1/namespaces", "")
	if got.wantStatus(429, metav1.StatusReasonTooManyRequests); got.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if got := g.send("GET", "/v1/namespaces", "", "Authorization", "Bearer bob"); got.Code != 200 {
		t.Errorf("another caller: %d %s", got.Code, got.Body)
	}
	leave()
	for i := range namespacesInFlight {
		if _, err := g.enterNamespaces(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	g.send("GET", "/v1/namespaces", "").wantStatus(429, metav1.StatusReasonTooManyRequests)
	if len(g.namespaceLists.count) != namespacesInFlight {
		t.Errorf("a refused list stays in flight: %v", g.namespaceLists.count)
	}
}
