// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decoding

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// With namespaces, only those are read, in their order.
func TestFindJobRunInNamespaces(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		item := ""
		if strings.Contains(r.URL.Path, "/team-b/") {
			item = `{"metadata":{"namespace":"team-b","name":"late"},"status":{"startTime":"now"}}`
		}
		fmt.Fprintf(w, `{"metadata":{},"items":[%s]}`, item)
	}))
	defer server.Close()
	find, err := JobRuns(&rest.Config{Host: server.URL}, "team-a", "team-b", "team-c")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := find(t.Context()); err != nil || !strings.HasPrefix(found, "JobRun team-b/late: ") {
		t.Errorf("found %q, error %v", found, err)
	}
	const path = "/apis/batch.jobrun.dev/v1alpha1/namespaces/%s/jobruns"
	if want := []string{fmt.Sprintf(path, "team-a"), fmt.Sprintf(path, "team-b")}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

// The second page of the list has the object that cannot be decoded.
func TestFindJobRun(t *testing.T) {
	const good = `{"metadata":{"namespace":"n","name":"good"},"spec":{"jobName":"j","input":[1]}}`
	nested := strings.Repeat("[", 9998) + strings.Repeat("]", 9998)
	for name, tc := range map[string]struct{ item, want string }{
		"levels": {`{"metadata":{"namespace":"n","name":"deep"},"status":{"output":` + nested + `}}`, "JobRun n/deep: it has 8998 levels of arrays and objects or more"},
		"a time": {`{"metadata":{"namespace":"n","name":"late"},"status":{"startTime":"now"}}`, "JobRun n/late: parsing time"},
		"none":   {good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/apis/batch.jobrun.dev/v1alpha1/jobruns" || r.URL.Query().Get("limit") != "100" {
					t.Errorf("asked for %s", r.URL)
				}
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Query().Get("continue") == "" {
					fmt.Fprintf(w, `{"metadata":{"continue":"more"},"items":[%s,%s]}`, good, good)
					return
				}
				fmt.Fprintf(w, `{"metadata":{},"items":[%s,%s]}`, good, tc.item)
			}))
			defer server.Close()
			find, err := JobRuns(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			found, err := find(t.Context())
			if err != nil || found != tc.want && (tc.want == "" || !strings.HasPrefix(found, tc.want)) {
				t.Errorf("found %q, error %v, want %q", found, err, tc.want)
			}
		})
	}
}
