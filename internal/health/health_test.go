// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	testingclock "k8s.io/utils/clock/testing"
)

func TestHandler(t *testing.T) {
	passes := func(*http.Request) error { return nil }
	fails := func(*http.Request) error { return errors.New("they are forbidden") }
	tests := map[string]struct {
		url  string
		code int
		body string
	}{
		"all":                   {"/readyz", 500, "[+]caches ok\n[-]runkeys failed: they are forbidden\nreadyz check failed\n"},
		"all but one":           {"/readyz?exclude=runkeys&exclude=members", 200, "ok"},
		"all but the wrong one": {"/readyz?exclude=caches", 500, "[+]caches (excluded) ok\n[-]runkeys failed: they are forbidden\nreadyz check failed\n"},
		"with lines":            {"/readyz?verbose&exclude=runkeys", 200, "[+]caches ok\n[-]runkeys (excluded) failed: they are forbidden\nreadyz check passed\n"},
		"one that passes":       {"/readyz/caches", 200, "ok"},
		"one that fails":        {"/readyz/runkeys", 500, "they are forbidden\n"},
		"one that is unknown":   {"/readyz/x", 404, "404 page not found\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			NewHandler("/readyz", funcr.New(func(string, string) {}, funcr.Options{}), Check{"caches", passes}, Check{"runkeys", fails}).Register(mux)
			answer := httptest.NewRecorder()
			mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, test.url, nil))
			if answer.Code != test.code || answer.Body.String() != test.body {
				t.Errorf("got %d %q, want %d %q", answer.Code, answer.Body, test.code, test.body)
			}
		})
	}
}

// The log has one line when a check begins to fail, and one when it passes again.
func TestHandlerLogsChanges(t *testing.T) {
	var logged []string
	log := funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{})
	var err error
	mux := http.NewServeMux()
	NewHandler("/readyz", log, Check{"runkeys", func(*http.Request) error { return err }}).Register(mux)
	for _, now := range []error{nil, errors.New("forbidden"), errors.New("forbidden"), nil, nil} {
		err = now
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz?exclude=runkeys", nil))
	}
	if len(logged) != 2 || !strings.Contains(logged[0], `"reason"="forbidden"`) || !strings.Contains(logged[1], "passes again") {
		t.Errorf("logged %q", logged)
	}
}

// aReflector is a cache of JobRuns.
type aReflector struct{ version string }

func (*aReflector) TypeDescription() string           { return "*v1alpha1.JobRun" }
func (r *aReflector) LastSyncResourceVersion() string { return r.version }

func TestWatches(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w, r := NewWatches(clock), &aReflector{version: "1"}
	expect := func(when, want string) {
		t.Helper()
		if err := w.Check(nil); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, want %q", when, err, want)
		}
	}
	expect("at first", "")
	w.note(r, errors.New("refused"))
	expect("after one failure", "")
	clock.Step(behindFor)
	w.note(r, errors.New("forbidden"))
	expect("after failures in a row", "the cache of *v1alpha1.JobRun has not followed since 2026-01-01T00:00:00Z: forbidden")
	r.version = "2"
	expect("when it follows", "")
	w.note(r, errors.New("refused"))
	clock.Step(forgetAfter + time.Second)
	expect("when nothing was tried for long", "")
	w.note(r, errors.New("refused"))
	expect("after the first failure of another row", "")
}

// With --namespaces, a kind has a cache for each namespace. One of them follows, and the other one does not.
func TestWatchesOfOneKind(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w, broken, well := NewWatches(clock), &aReflector{version: "1"}, &aReflector{version: "1"}
	for range 3 {
		w.note(broken, errors.New("forbidden in team-a"))
		w.note(well, errors.New("refused in team-b"))
		well.version += "1"
		clock.Step(behindFor / 2)
	}
	err := w.Check(nil)
	if err == nil || !strings.Contains(err.Error(), "forbidden in team-a") || strings.Contains(err.Error(), "team-b") {
		t.Errorf("got %v", err)
	}
}
