// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// reviewer is an API server that knows the token "good", and for each audience one of that name. It refuses the rest as a real one
// does. About the token "unaware" it answers as an API server that knows no audiences.
func reviewer(t *testing.T, fails bool, audiences ...string) (authenticator.Request, *atomic.Int32) {
	reviews := &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reviews.Add(1)
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || fails {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
		review.Status = authenticationv1.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}
		if review.Spec.Token == "good" && len(review.Spec.Audiences) == 0 || review.Spec.Token == "unaware" {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "ann"}}
		}
		if slices.Contains(review.Spec.Audiences, review.Spec.Token) {
			review.Status = authenticationv1.TokenReviewStatus{
				Authenticated: true, User: authenticationv1.UserInfo{Username: "ann"}, Audiences: []string{review.Spec.Token},
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	a, err := NewAuthenticator(config, server.Client(), audiences...)
	if err != nil {
		t.Fatal(err)
	}
	return a, reviews
}

func authenticate(t *testing.T, a authenticator.Request, header string) (*authenticator.Response, bool, error) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/runs", http.NoBody)
	r.Header.Set("Authorization", header)
	return a.AuthenticateRequest(r)
}

func TestAuthenticator(t *testing.T) {
	a, reviews := reviewer(t, false)
	for header, want := range map[string]string{
		"Bearer good": "ann", "bearer good": "ann", "Bearer bad": "", "": "", "Bearer": "", "Basic good": "", "Bearer " + strings.Repeat("x", maxTokenBytes+1): "",
	} {
		for range 3 {
			answer, ok, err := authenticate(t, a, header)
			if errors.As(err, new(*outageError)) || ok != (want != "") || ok && answer.User.GetName() != want {
				t.Errorf("%.20q: %v %t %v", header, answer, ok, err)
			}
		}
	}
	if n := reviews.Load(); n != 2 {
		t.Errorf("%d reviews, want one for each token", n)
	}
}

// A gateway with audiences accepts tokens for one of them alone.
func TestAudiences(t *testing.T) {
	for token, want := range map[string][2]bool{
		"good": {true, false}, "a": {false, true}, "b": {false, true}, "c": {false, false}, "unaware": {true, false},
	} {
		for i, audiences := range [][]string{nil, {"a", "b"}} {
			a, _ := reviewer(t, false, audiences...)
			if _, ok, _ := authenticate(t, a, "Bearer "+token); ok != want[i] {
				t.Errorf("token %s with audiences %q: %t, want %t", token, audiences, ok, want[i])
			}
		}
	}
}

// A flood of bad tokens makes a bounded number of reviews. What exceeds it is not known, so it is no 401.
func TestAuthenticatorInAFlood(t *testing.T) {
	a, reviews := reviewer(t, false)
	if _, ok, err := authenticate(t, a, "Bearer good"); !ok {
		t.Fatal(err)
	}
	refused := 0
	for i := range 4 * reviewsBurst {
		_, ok, err := authenticate(t, a, "Bearer bad"+strconv.Itoa(i))
		if ok {
			t.Fatal("a bad token is good")
		}
		if errors.Is(err, errTooManyReviews) {
			refused++
		} else if errors.As(err, new(*outageError)) {
			t.Fatal(err)
		}
	}
	if int(reviews.Load())+refused != 4*reviewsBurst+1 || refused == 0 {
		t.Errorf("%d reviews, %d refused", reviews.Load(), refused)
	}
	if _, ok, err := authenticate(t, a, "Bearer good"); !ok {
		t.Errorf("a known token is refused: %v", err)
	}
}

// In a flood of bad tokens, a token that was accepted before is reviewed again. One that was accepted and is no more gets no
// place before others.
func TestAFloodLocksNoKnownCallerOut(t *testing.T) {
	good := map[string]bool{"known": true, "revoked": true}
	reviews := 0
	accepted, err := newAcceptedTokens()
	if err != nil {
		t.Fatal(err)
	}
	l := &limitedTokens{
		next: authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
			reviews++
			return &authenticator.Response{}, good[token], nil
		}),
		accepted: accepted,
		known:    flowcontrol.NewTokenBucketRateLimiter(0.001, 4),
		unknown:  flowcontrol.NewTokenBucketRateLimiter(0.001, 3),
	}
	ask := func(token string, want bool, wantErr error) {
		t.Helper()
		if _, ok, err := l.AuthenticateToken(t.Context(), token); ok != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %t %v", token, ok, err)
		}
	}
	ask("known", true, nil)
	ask("revoked", true, nil)
	ask("bad", false, nil)
	ask("worse", false, errTooManyReviews)
	good["revoked"] = false
	ask("revoked", false, nil)
	ask("revoked", false, errTooManyReviews)
	for range 3 {
		ask("known", true, nil)
	}
	ask("known", false, errTooManyReviews)
	if reviews != 7 {
		t.Errorf("%d reviews", reviews)
	}
}

// The tokens that were accepted lately are known up to a number. The one that was not used for the longest time is forgotten.
func TestAcceptedTokensAreBounded(t *testing.T) {
	a, err := newAcceptedTokens()
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxAccepted {
		a.note(strconv.Itoa(i), true)
	}
	if !a.has("0") {
		t.Error("the first one is forgotten too early")
	}
	a.note("one more", true)
	for token, want := range map[string]bool{"0": true, "1": false, "2": true, "one more": true} {
		if got := a.has(token); got != want {
			t.Errorf("token %s is known: %t, want %t", token, got, want)
		}
	}
}

func TestAuthenticatorWithoutAnAPIServer(t *testing.T) {
	a, _ := reviewer(t, true)
	if _, ok, err := authenticate(t, a, "Bearer good"); ok || !errors.As(err, new(*outageError)) {
		t.Errorf("%t %v", ok, err)
	}
}
