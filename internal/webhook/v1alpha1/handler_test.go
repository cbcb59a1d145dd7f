// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// A manager that stops answers the requests that it has.
func TestAManagerThatStopsAnswers(t *testing.T) {
	manager, stop := context.WithCancel(t.Context())
	handler := webhook.NewHTTPHandler(admission.HandlerFunc(func(ctx context.Context, _ admission.Request) admission.Response {
		stop()
		if ctx.Err() != nil {
			return admission.Denied(ctx.Err().Error())
		}
		return admission.Allowed("")
	}))
	body := `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u"}}`
	request := httptest.NewRequestWithContext(manager, http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	if !strings.Contains(answer.Body.String(), `"allowed":true`) {
		t.Errorf("got %s", answer.Body)
	}
}
