// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/rest"

	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// reviewer is an API server that answers SubjectAccessReviews.
type reviewer struct {
	reviews atomic.Int32
	// allowed is the user who may do everything.
	allowed atomic.Value
	// failures is how many requests fail first.
	failures int32
}

func newReviewer(allowed string) *reviewer {
	r := &reviewer{}
	r.allowed.Store(allowed)
	return r
}

func (r *reviewer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	n := r.reviews.Add(1)
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil || n <= r.failures {
		http.Error(w, "not now", http.StatusInternalServerError)
		return
	}
	review.Status.Allowed = review.Spec.User == r.allowed.Load()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func newAuthorizer(t testing.TB, r *reviewer) authorizer.Authorizer {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.ContentType = "application/json"
	a, err := webhook.NewAuthorizer(config, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func question(userName string, groups ...string) authorizer.Attributes {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: userName, Groups: groups}, Verb: "trigger", Namespace: "team", APIGroup: "batch.jobrun.dev",
		APIVersion: "v1alpha1", Resource: "jobdefinitions", Name: "sync-users", ResourceRequest: true,
	}
}

func TestAuthorizerRemembersAnswers(t *testing.T) {
	r := newReviewer("ann")
	a := newAuthorizer(t, r)
	decide := func(userName string, groups ...string) authorizer.Decision {
		t.Helper()
		decision, _, err := a.Authorize(t.Context(), question(userName, groups...))
		if err != nil {
			t.Fatal(err)
		}
		return decision
	}
	for range 3 {
		if got := decide("ann"); got != authorizer.DecisionAllow {
			t.Errorf("ann: got %v", got)
		}
	}
	if n := r.reviews.Load(); n != 1 {
		t.Errorf("3 questions lead to %d reviews", n)
	}
	for range 100 {
		if got := decide("bob"); got == authorizer.DecisionAllow {
			t.Error("bob is allowed")
		}
	}
	if n := r.reviews.Load(); n > 50 { // A refusal is believed for a second.
		t.Errorf("100 more questions lead to %d reviews", n-1)
	}
	r.allowed.Store("bob") // the Role was added
	deadline := time.Now().Add(time.Minute)
	for decide("bob") != authorizer.DecisionAllow {
		if time.Now().After(deadline) {
			t.Fatal("a refusal is believed for a minute")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A user that is larger than any usual one is not remembered, so that nobody fills the memory with such users.
func TestAuthorizerForgetsLargeUsers(t *testing.T) {
	r := newReviewer("ann")
	a := newAuthorizer(t, r)
	for range 3 {
		decision, _, err := a.Authorize(t.Context(), question("ann", strings.Repeat("g", 9<<10)))
		if err != nil || decision != authorizer.DecisionAllow {
			t.Fatal(decision, err)
		}
	}
	if n := r.reviews.Load(); n != 3 {
		t.Errorf("3 questions lead to %d reviews", n)
	}
}

func TestAuthorizerTriesAgain(t *testing.T) {
	r := newReviewer("ann")
	r.failures = 2
	decision, _, err := newAuthorizer(t, r).Authorize(t.Context(), question("ann"))
	if err != nil || decision != authorizer.DecisionAllow {
		t.Error(decision, err)
	}
	r = newReviewer("ann")
	r.failures = 1000
	start := time.Now()
	if decision, _, err = newAuthorizer(t, r).Authorize(t.Context(), question("ann")); err == nil || decision == authorizer.DecisionAllow {
		t.Error(decision, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
