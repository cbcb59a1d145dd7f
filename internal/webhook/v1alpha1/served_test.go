// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func TestServedOnly(t *testing.T) {
	allow := admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })
	for name, tc := range map[string]struct {
		namespaces []string
		namespace  string
		want       string // in the refusal
	}{
		"all namespaces": {nil, "team-c", ""},
		"a served one":   {[]string{"team-a", "team-b"}, "team-b", ""},
		"another one":    {[]string{"team-a", "team-b"}, "team-c", `does not serve namespace "team-c", only team-a, team-b`},
		"a prefix of it": {[]string{"team-a"}, "team", `does not serve namespace "team"`},
	} {
		t.Run(name, func(t *testing.T) {
			response := servedOnly(tc.namespaces, allow).Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Namespace: tc.namespace, Name: "run-1",
				Resource: metav1.GroupVersionResource{Group: "batch.jobrun.dev", Version: "v1alpha1", Resource: "jobruns"},
			}})
			if tc.want == "" {
				if !response.Allowed {
					t.Errorf("refused: %v", response.Result)
				}
				return
			}
			if response.Allowed || response.Result.Code != http.StatusForbidden || !strings.Contains(response.Result.Message, tc.want) {
				t.Errorf("allowed %t, %+v", response.Allowed, response.Result)
			}
		})
	}
}
