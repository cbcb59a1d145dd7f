// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// manyRuns is an API server with the JobRuns 0 to n-1, whose inputs have size bytes. Its continue is the next one.
type manyRuns struct {
	client.WithWatch
	n, size int
	// limits are those of the lists that were read.
	limits []int64
}

func (m *manyRuns) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	m.limits = append(m.limits, asked.Limit)
	first, _ := strconv.Atoi(asked.Continue)
	last := min(first+int(asked.Limit), m.n)
	runs := list.(*v1alpha1.JobRunList)
	for i := first; i < last; i++ {
		run := v1alpha1.JobRun{ObjectMeta: named(strconv.Itoa(i))}
		run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`"` + strings.Repeat("x", m.size) + `"`)}
		runs.Items = append(runs.Items, run)
	}
	runs.ResourceVersion = "7"
	if last < m.n {
		left := int64(m.n - last)
		runs.Continue, runs.RemainingItemCount = strconv.Itoa(last), &left
	}
	return nil
}

// A list reads few objects at once. A page ends early if its objects are large, and nothing is missing on the next ones.
func TestListsReadInChunks(t *testing.T) {
	for _, tc := range []struct {
		n, size, limit int
		pages          string
		chunks         string
	}{
		{n: 0, limit: 100, pages: "0", chunks: "25"},
		{n: 60, limit: 100, pages: "60", chunks: "25 25 25"},
		{n: 60, limit: 30, pages: "30 30", chunks: "25 5 25 5"},
		{n: 100, size: 64 << 10, limit: 500, pages: "75 25", chunks: "25 25 25 25"},
	} {
		api := &manyRuns{n: tc.n, size: tc.size}
		g, next, seen := newGate(t, api), "", 0
		var pages []string
		for {
			got := g.send("GET", fmt.Sprintf("/v1/namespaces/default/runs?limit=%d&continue=%s", tc.limit, next), "")
			var list v1alpha1.JobRunList
			got.decode(&list)
			if got.Code != http.StatusOK || list.Kind != "JobRunList" || list.ResourceVersion != "7" {
				t.Fatalf("%d %.300s", got.Code, got.Body)
			}
			for _, run := range list.Items {
				if run.Name != strconv.Itoa(seen) || run.Kind != "JobRun" {
					t.Errorf("%s %s is not run %d", run.Kind, run.Name, seen)
				}
				seen++
			}
			pages = append(pages, strconv.Itoa(len(list.Items)))
			if next = list.Continue; next == "" {
				break
			}
			if left := list.RemainingItemCount; left == nil || *left != int64(tc.n-seen) {
				t.Errorf("remaining after %d: %v", seen, left)
			}
		}
		if got := strings.Join(pages, " "); got != tc.pages || seen != tc.n {
			t.Errorf("%+v: pages %s", tc, got)
		}
		if got := strings.Trim(fmt.Sprint(api.limits), "[]"); got != tc.chunks {
			t.Errorf("%+v: chunks %s", tc, got)
		}
	}
}

// What lists and reads take together is bounded. They wait for their turn for a while.
func TestReadsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, newFake(t, &v1alpha1.JobRun{ObjectMeta: named("a")}))
		paths := []string{"/v1/namespaces/default/runs", "/v1/namespaces/default/runs/a", "/v1/namespaces/default/keys", "/v1/namespaces/default/definitions"}
		for _, path := range paths {
			if !g.reads.TryAcquire(maxReadBytes) {
				t.Fatal("something is read")
			}
			begun := time.Now()
			g.send("GET", path, "").wantStatus(429, metav1.StatusReasonTooManyRequests)
			if took := time.Since(begun); took != readPatience {
				t.Errorf("%s: a 429 after %s", path, took)
			}
			time.AfterFunc(time.Second, func() { g.reads.Release(maxReadBytes) })
			if got := g.send("GET", path, ""); got.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, got.Code, got.Body)
			}
		}
	})
}

// One caller does not fill the turns of all, or their room for answers.
func TestReadsOfACallerAreBounded(t *testing.T) {
	g := newGate(t, newFake(t))
	const path = "/v1/namespaces/default/runs"
	bound := func(name string, free func()) {
		t.Helper()
		g.send("GET", path, "").wantStatus(429, metav1.StatusReasonTooManyRequests)
		if got := g.send("GET", path, "", "Authorization", "Bearer bob"); got.Code != http.StatusOK {
			t.Errorf("%s: another caller: %d %s", name, got.Code, got.Body)
		}
		free()
		if got := g.send("GET", path, ""); got.Code != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", name, got.Code, got.Body)
		}
	}
	g.readers.count["ann"] = callerReads
	bound("turns", func() { g.readers.count["ann"] = 0 })
	g.answers.take("ann", callerAnswerBytes)
	bound("answers", func() { g.answers.give("ann", callerAnswerBytes) })
	if g.answers.all != 0 {
		t.Errorf("%d bytes of answers are held", g.answers.all)
	}
}
