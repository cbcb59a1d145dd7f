// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

func withOutput(phase v1alpha1.Phase, output string) []byte {
	if output == "" {
		return fmt.Appendf(nil, `{"metadata":{"name":"a"},"status":{"phase":%q}}`, phase)
	}
	return fmt.Appendf(nil, `{"metadata":{"name":"a"},"status":{"phase":%q,"output":%s}}`, phase, output)
}

func TestOutput(t *testing.T) {
	const limit = v1alpha1.MaxWorkerOutputBytes
	text := func(size int) string { return `"` + strings.Repeat("x", size-2) + `"` }
	for name, tc := range map[string]struct {
		phase    v1alpha1.Phase
		old, new string
		want     string
	}{
		"an output":                         {v1alpha1.PhaseLeased, "", `{"a":[1]}`, ""},
		"another output":                    {v1alpha1.PhaseLeased, "1", "2", ""},
		"no output any more":                {v1alpha1.PhaseLeased, "1", "", ""},
		"of 64 levels":                      {v1alpha1.PhaseLeased, "", nested(64), ""},
		"of 65 levels":                      {v1alpha1.PhaseLeased, "", nested(65), "at most 64 levels"},
		"of 65 levels, objects":             {v1alpha1.PhaseLeased, "", `{"a":{"b":` + nested(63) + "}}", "at most 64 levels"},
		"of 65 levels, stored already":      {v1alpha1.PhaseLeased, nested(65), nested(65), ""},
		"brackets in a text":                {v1alpha1.PhaseLeased, "", `"` + nested(65) + `"`, ""},
		"as large as may be":                {v1alpha1.PhaseLeased, "", text(limit), ""},
		"a byte too large":                  {v1alpha1.PhaseLeased, "", text(limit + 1), "may not be more than 262144 bytes: it has 262145 bytes"},
		"much too large":                    {v1alpha1.PhaseLeased, "", text(1600 << 10), "may not be more than 262144 bytes: it has 1638400 bytes"},
		"as large as may be, escaped":       {v1alpha1.PhaseLeased, "", escaped("<>&\u2028\u2029", limit), ""},
		"a byte too large, escaped":         {v1alpha1.PhaseLeased, "", escaped("<>&\u2028\u2029", limit+1), "it has 262145 bytes"},
		"backslashes and text after them":   {v1alpha1.PhaseLeased, "", `"` + strings.Repeat(`\\u003c`, limit/7-1) + `"`, ""},
		"more of these":                     {v1alpha1.PhaseLeased, "", `"` + strings.Repeat(`\\u003c`, limit/7) + `"`, "it has 262145 bytes"},
		"too large, stored already":         {v1alpha1.PhaseLeased, text(limit + 1), text(limit + 1), ""},
		"of a run that completed":           {v1alpha1.PhaseCompleted, "1", "2", "is final"},
		"a first one, of one that failed":   {v1alpha1.PhaseFailed, "", "2", "is final"},
		"none any more, of a cancelled":     {v1alpha1.PhaseCancelled, "1", "", "is final"},
		"of a receipt":                      {v1alpha1.PhaseCoalesced, "1", "2", "is final"},
		"of another receipt":                {v1alpha1.PhaseIdempotent, "", "2", "is final"},
		"the same, of a run that ended":     {v1alpha1.PhaseCompleted, `{"a":1,"b":2}`, `{"b":2, "a":1}`, ""},
		"null for none, once the run ended": {v1alpha1.PhaseCompleted, "null", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			response := webhook.HandleOutput(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Update, Name: "a",
				OldObject: runtime.RawExtension{Raw: withOutput(tc.phase, tc.old)},
				// The phase of the stored JobRun counts.
				Object: runtime.RawExtension{Raw: withOutput(v1alpha1.PhaseLeased, tc.new)},
			}})
			wantRefusal(t, response, tc.want)
		})
	}
}

// A claim of a run that has ended since has no output.
func TestOutputOfAnotherVersion(t *testing.T) {
	ended := []byte(`{"metadata":{"name":"a","resourceVersion":"7"},"status":{"phase":"Completed","output":1}}`)
	for version, want := range map[string]int32{
		"6": http.StatusConflict, "07": http.StatusConflict, "7": http.StatusUnprocessableEntity, "": http.StatusUnprocessableEntity,
	} {
		response := webhook.HandleOutput(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Update, Name: "a", OldObject: runtime.RawExtension{Raw: ended},
			Object: runtime.RawExtension{Raw: fmt.Appendf(nil, `{"metadata":{"name":"a","resourceVersion":%q},"status":{"phase":"Leased"}}`, version)},
		}})
		if response.Allowed || response.Result.Code != want {
			t.Errorf("from version %q: %v, want code %d", version, response, want)
		}
	}
}

// escaped returns a JSON string as the API server sends it to a webhook. It has size bytes where the text is not escaped.
func escaped(text string, size int) string {
	n := (size - 2) / len(text)
	value, err := json.Marshal(strings.Repeat(text, n) + strings.Repeat("x", size-2-n*len(text)))
	if err != nil {
		panic(err)
	}
	return string(value)
}

// wantRefusal fails the test unless the response is a 422 that names status.output and has the text. Without a text, the
// response must allow the update.
func wantRefusal(t *testing.T, response admission.Response, text string) {
	t.Helper()
	switch {
	case text == "":
		if !response.Allowed {
			t.Errorf("refused: %.300v", response.Result)
		}
	case response.Allowed:
		t.Errorf("allowed, want %s", text)
	case response.Result.Code != http.StatusUnprocessableEntity,
		response.Result.Details.Causes[0].Field != "status.output",
		!strings.Contains(response.Result.Message, text):
		t.Errorf("%.300v, want a 422 for status.output: %s", response.Result, text)
	}
}

// The decoders refuse a review of so many levels. The answer names the field all the same.
func TestOutputOfAsManyLevelsAsTheAPIServerTakes(t *testing.T) {
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","name":"a","operation":"UPDATE","object":%s,"oldObject":%s}}`,
		withOutput(v1alpha1.PhaseLeased, nested(9998)), withOutput(v1alpha1.PhaseLeased, ""))
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	webhook.NewHTTPHandler(admission.HandlerFunc(webhook.HandleOutput)).ServeHTTP(answer, request)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil || review.Response == nil {
		t.Fatalf("answer %.300s, error %v", answer.Body, err)
	}
	if review.Response.UID != "u" {
		t.Errorf("answers %q, want u", review.Response.UID)
	}
	wantRefusal(t, admission.Response{AdmissionResponse: *review.Response}, "at most 64 levels")
}
