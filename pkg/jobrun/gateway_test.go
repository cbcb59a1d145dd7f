// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// overHTTP returns a client of a gateway that answers with handle.
func overHTTP(t *testing.T, handle http.HandlerFunc) *jobrun.GatewayClient {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	runs, err := jobrun.NewForGateway(jobrun.GatewayOptions{
		URL: server.URL + "/", Token: func(context.Context) (string, error) { return "secret", nil },
	}, "default")
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

const stored = `{"apiVersion":"batch.jobrun.dev/v1alpha1","kind":"JobRun","metadata":{"name":"sync-1","namespace":"default","uid":"u"},` +
	`"spec":{"jobName":"sync","admission":{"disposition":"Created","runName":"sync-1","runToken":"t"}}}`

// A trigger without an idempotencyKey is sent once, whatever becomes of the answer.
func TestGatewayTriggerWhoseAnswerIsLost(t *testing.T) {
	var posts atomic.Int32
	runs := overHTTP(t, func(http.ResponseWriter, *http.Request) {
		posts.Add(1)
		panic(http.ErrAbortHandler)
	})
	_, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync"})
	var unanswered *jobrun.UnansweredError
	if !errors.As(err, &unanswered) || unanswered.Name != "" || posts.Load() != 1 {
		t.Errorf("%v after %d requests", err, posts.Load())
	}
}

// With one, the same body is sent until there is an answer.
func TestGatewayTriggerIsSentAgain(t *testing.T) {
	var bodies []string
	runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("authorization: %q", r.Header.Get("Authorization"))
		}
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, stored)
			return
		}
		text, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.URL.Path+" "+string(text))
		switch len(bodies) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"disposition":"Created","run":"sync-1","trigger":"sync-1"}`)
		}
	})
	result, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync", IdempotencyKey: "once"})
	if err != nil || result.JobRun.UID != "u" || result.Run.Token != "t" {
		t.Fatalf("%+v, %v", result, err)
	}
	const body = `/v1/namespaces/default/jobs/sync/runs {"idempotencyKey":"once"}`
	if len(bodies) != 3 || bodies[0] != body || bodies[1] != body || bodies[2] != body {
		t.Errorf("%q", bodies)
	}
}

func TestGatewayAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		code int
		body string
		is   func(error) bool
	}{
		"its own timeout": {
			504, `{"kind":"Status","status":"Failure","reason":"Timeout","code":504,"details":{"name":"sync-7"}}`,
			func(err error) bool {
				var unanswered *jobrun.UnansweredError
				return errors.As(err, &unanswered) && unanswered.Name == "sync-7"
			},
		},
		"a proxy's text": {502, "bad gateway", func(err error) bool { return strings.Contains(err.Error(), "bad gateway") }},
		"a reserved key": {
			409, `{"kind":"Status","reason":"Conflict","code":409,"details":{"causes":[{"reason":"ReservedRun","message":"a"}]}}`,
			func(err error) bool { return errors.Is(err, jobrun.ErrReserved) },
		},
		"too many": {429, `{"kind":"Status","reason":"TooManyRequests","code":429}`, apierrors.IsTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			runs := overHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, tc.body)
			})
			if _, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync"}); err == nil || !tc.is(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What the gateway does not take is refused, not left out.
func TestGatewayTriggerRefuses(t *testing.T) {
	runs := overHTTP(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s", r.Method, r.URL) })
	spec := v1alpha1.JobRunSpec{JobName: "sync"}
	bad := spec
	bad.Cancel = new(true)
	for name, refuse := range map[string]func() error{
		"a name":   func() error { _, err := runs.Trigger(t.Context(), spec, jobrun.WithName("a")); return err },
		"a prefix": func() error { _, err := runs.Trigger(t.Context(), spec, jobrun.WithGenerateName("a")); return err },
		"annotations": func() error {
			_, err := runs.Trigger(t.Context(), spec, jobrun.WithAnnotations(map[string]string{"a": "b"}))
			return err
		},
		"spec.cancel":       func() error { _, err := runs.Trigger(t.Context(), bad); return err },
		"no job":            func() error { _, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{}); return err },
		"a retrigger's key": func() error { _, err := runs.Retrigger(t.Context(), "a", jobrun.WithIdempotencyKey("k")); return err },
		"another resource":  func() error { _, err := runs.Get(t.Context(), "a/cancel"); return err },
	} {
		if err := refuse(); !errors.Is(err, jobrun.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := func(context.Context) (string, error) { return "", errors.New("no token") }
	broken, err := jobrun.NewForGateway(jobrun.GatewayOptions{URL: "https://127.0.0.1:1", Token: token}, "default")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Trigger(t.Context(), spec); errors.Is(err, jobrun.ErrUnanswered) || err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("without a token: %v", err)
	}
	for _, o := range []jobrun.GatewayOptions{{}, {URL: "gateway:443", Token: token}, {URL: "https://a"}} {
		if _, err := jobrun.NewForGateway(o, "default"); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if _, err := jobrun.NewForGateway(jobrun.GatewayOptions{URL: "https://a", Token: token}, ""); err == nil {
		t.Error("all namespaces are accepted")
	}
}

// Once the gateway has answered, the trigger is accepted, whatever becomes of reading its JobRun.
func TestGatewayTriggerWhoseJobRunIsNotRead(t *testing.T) {
	for name, read := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","code":403,"reason":"Forbidden"}`)
		},
		"unavailable": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"lost":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					read(w, r)
					return
				}
				_, _ = io.WriteString(w, `{"disposition":"Coalesced","run":"sync-1","trigger":"sync-2"}`)
			})
			check := func(how string, result jobrun.TriggerResult, err error) {
				t.Helper()
				if err != nil || result.JobRun.Name != "sync-2" || result.Disposition != v1alpha1.DispositionCoalesced || result.Run.Name != "sync-1" {
					t.Errorf("%s: %+v, %v", how, result, err)
				}
			}
			result, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync"}, jobrun.WithPatience(100*time.Millisecond))
			check("Trigger", result, err)
			result, err = runs.Retrigger(t.Context(), "sync-0", jobrun.WithPatience(100*time.Millisecond))
			check("Retrigger", result, err)
		})
	}
}

// An answer without a name leaves open what became of the trigger.
func TestGatewayTriggerAnsweredWithoutAName(t *testing.T) {
	runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			t.Errorf("%s", r.URL)
		}
		_, _ = io.WriteString(w, `{"items":[{}]}`)
	})
	if _, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync"}); !errors.Is(err, jobrun.ErrUnanswered) {
		t.Errorf("Trigger: %v", err)
	}
	_, err := runs.BatchTrigger(t.Context(), []jobrun.BatchItem{{Spec: v1alpha1.JobRunSpec{JobName: "sync"}}})
	if !errors.Is(err, jobrun.ErrUnanswered) {
		t.Errorf("BatchTrigger: %v", err)
	}
}
