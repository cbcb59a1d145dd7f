// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// The API server's authenticator removes the token that it accepts. A stream asks about its token each minute.
func TestATokenCanBeAskedAboutAgain(t *testing.T) {
	g := newGate(t, apiserver.New(), func(o *Options) {
		o.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			answer, ok, err := authenticateByName(r)
			r.Header.Del("Authorization")
			return answer, ok, err
		})
	})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer ann")
	for range 2 {
		if caller, err := g.authenticate(r); err != nil || caller.GetName() != "ann" {
			t.Fatalf("%v, %v", caller, err)
		}
	}
}

func TestEventsNeedTheRightToWatch(t *testing.T) {
	g := newGate(t, apiserver.New())
	const events = "/v1/namespaces/default/events"
	g.denied["watch default/jobruns/"] = true
	g.send("GET", events, "").wantStatus(403, metav1.StatusReasonForbidden)
	g.denied["watch default/jobruns/"] = false
	g.send("GET", events+"?jobname=sync", "").wantStatus(400, metav1.StatusReasonBadRequest)
	g.send("GET", events+"?jobName=a&jobName=b", "").wantStatus(400, metav1.StatusReasonBadRequest)
	g.send("GET", events+"?label=a&label=b%20c", "").wantStatus(400, metav1.StatusReasonBadRequest)
	g.Drain()
	g.send("GET", events, "").wantStatus(503, metav1.StatusReasonServiceUnavailable)
}
