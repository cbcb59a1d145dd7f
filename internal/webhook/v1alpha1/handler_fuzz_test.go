// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// The handlers answer any bytes that arrive as an AdmissionReview. A refused request and a dry run change no key.
func FuzzAdmissionReview(f *testing.F) {
	for _, seed := range reviews(f) {
		for handler := range handlers {
			f.Add(seed, byte(handler))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, handler byte) {
		waits := wrappers.MakeJobRun("a").Key("k").Created().Pending().Obj()
		r := newReplica(t, waits, wrappers.MakeRunKey("k").Pending("a").Obj())
		before := r.keys(t)
		response := r.post(t, body, int(handler)%handlers)
		var review admissionv1.AdmissionReview
		if json.Unmarshal(response, &review) != nil || review.Response == nil {
			t.Fatalf("the answer is not an AdmissionReview: %s", response)
		}
		if review.Response.Allowed && !isDryRun(body) {
			return
		}
		if diff := cmp.Diff(before, r.keys(t)); diff != "" {
			t.Errorf("a dry run, or a request that was answered with allowed=%t, changed keys:\n%s", review.Response.Allowed, diff)
		}
	})
}

// handlers is the number of handlers that post knows.
const handlers = 4

// post sends a review to a handler in the way of the API server. It does not recover from a panic.
func (r replica) post(t *testing.T, body []byte, handler int) []byte {
	t.Helper()
	keys := keystore.New(keystore.Options{Cached: r.store, Live: r.store, Writer: r.store})
	options := webhook.Options{Keys: keys, Cached: r.store, Live: r.store}
	all := [handlers]admission.Handler{r.Handler, webhook.NewClaimHandler(options), webhook.NewFenceHandler(options), webhook.NewDefinitionHandler(options)}
	recovers := false
	hook := &admission.Webhook{Handler: all[handler], RecoverPanic: &recovers}
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	hook.ServeHTTP(answer, request)
	return answer.Body.Bytes()
}

// keys returns the specs of all stored RunKeys.
func (r replica) keys(t *testing.T) map[string]v1alpha1.RunKeySpec {
	t.Helper()
	var list v1alpha1.RunKeyList
	if err := r.store.List(context.Background(), &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]v1alpha1.RunKeySpec{}
	for _, key := range list.Items {
		found[key.Namespace+"/"+key.Name] = key.Spec
	}
	return found
}

// isDryRun reports whether a body is a dry run. It matches field names in the way of the handlers: dryRun is not dryrun,
// unlike in encoding/json.
func isDryRun(body []byte) bool {
	var review admissionv1.AdmissionReview
	return utiljson.Unmarshal(body, &review) == nil && review.Request != nil && review.Request.DryRun != nil && *review.Request.DryRun
}

// reviews returns seeds: valid requests and some malformed ones.
func reviews(f *testing.F) [][]byte {
	f.Helper()
	seeds := [][]byte{nil, []byte("{}"), []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`), []byte("[1, 2"), {0xff, 0xfe}}
	for _, spec := range []string{
		`{"jobName": "job"}`,
		`{"jobName": "job", "concurrencyKey": "free"}`,
		`{"jobName": "job", "concurrencyKey": "k"}`,
		`{"jobName": "job", "concurrencyKey": "k", "coalesce": "Skip", "input": {"a": [1, null, "\u0000"]}}`,
		`{"jobName": "job", "concurrencyKey": "free", "idempotencyKey": "i", "admission": {"disposition": "Created"}}`,
		`{"jobName": "job", "concurrencyKey": "free", "template": {"spec": {"template": {"spec": {"containers": []}}}}}`,
		`{"jobName": "", "concurrencyKey": "free"}`,
		`{"jobName": "job", "concurrencyKey": "free", "input": "` + strings.Repeat("x", v1alpha1.MaxInputBytes) + `"}`,
		`null`,
	} {
		object := `{"apiVersion": "batch.jobrun.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": "b", "namespace": "default"}, "spec": ` + spec + `}`
		for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
			for _, dry := range []bool{false, true} {
				seed := reviewOf(f, operation, object, dry)
				seeds = append(seeds, seed, bytes.ReplaceAll(seed, []byte("dryRun"), []byte("dryrun")))
			}
		}
	}
	for _, spec := range []string{
		`{"concurrencyKeyExpression": "input.a", "inputSchema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}`,
		`{"schedules": [{"name": "a", "schedule": "@daily", "input": 5}], "template": {"spec": {}}}`,
	} {
		seeds = append(seeds, reviewOf(f, admissionv1.Create, `{"metadata": {"name": "job"}, "spec": `+spec+`}`, false))
	}
	claimed := wrappers.MakeJobRun("a").Key("k").Created().Leased(1, "").Holder("worker").Obj()
	object, err := json.Marshal(claimed)
	if err != nil {
		f.Fatal(err)
	}
	seeds = append(seeds, reviewOf(f, admissionv1.Update, string(object), false))
	for _, run := range []*wrappers.JobRunWrapper{wrappers.MakeJobRun("a").Key("k").Created(), wrappers.MakeJobRun("a").Created()} {
		job, err := json.Marshal(wrappers.MakeJob(run.Obj(), 1).Obj())
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, reviewOf(f, admissionv1.Create, string(job), false))
	}
	return seeds
}

func reviewOf(f *testing.F, operation admissionv1.Operation, object string, dry bool) []byte {
	f.Helper()
	old := `{"metadata": {"name": "a", "namespace": "default", "uid": "uid-a"}, "spec": {"jobName": "job", "concurrencyKey": "k"}}`
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "token-b", Operation: operation, Namespace: wrappers.Namespace, Name: "b", DryRun: &dry,
			Object: runtime.RawExtension{Raw: []byte(object)}, OldObject: runtime.RawExtension{Raw: []byte(old)},
		},
	}
	body, err := json.Marshal(review)
	if err != nil {
		f.Fatal(err)
	}
	return body
}
