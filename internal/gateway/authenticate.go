// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/cache"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// Bounds of authentication.
const (
	// tokenTTL is how long an answer about a token is believed.
	tokenTTL = 10 * time.Second
	// refusedTokens is how many tokens without a user are remembered for tokenTTL. The API server's authenticator remembers none.
	refusedTokens = 4096
	// maxTokenBytes bounds a token. Those of ServiceAccounts have some 1 KiB.
	maxTokenBytes = 16 << 10
	// reviewsPerSecond and reviewsBurst bound the TokenReviews, so that a flood of bad tokens does not become one of the API server.
	reviewsPerSecond = 200
	reviewsBurst     = 1000
	// reviewTimeout bounds one TokenReview.
	reviewTimeout = 5 * time.Second
)

// reviewRetries of one TokenReview take at most half a second, without the time of the requests.
var reviewRetries = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}

// errTooManyReviews means that too many tokens that are not remembered came at once.
var errTooManyReviews = errors.New("too many unknown tokens at once")

// NewAuthenticator returns an authenticator that asks the API server by a TokenReview. It remembers the answers for 10 s. It makes
// at most 200 TokenReviews a second, and 1,000 at once.
func NewAuthenticator(config *rest.Config, httpClient *http.Client) (authenticator.Request, error) {
	bounded := rest.CopyConfig(config)
	bounded.RateLimiter = reviewLimit{flowcontrol.NewTokenBucketRateLimiter(reviewsPerSecond, reviewsBurst)}
	reviews, err := authenticationclient.NewForConfigAndClient(bounded, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for TokenReviews: %w", err)
	}
	delegating := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:  reviews,
		TokenAccessReviewTimeout: reviewTimeout,
		WebhookRetryBackoff:      &reviewRetries,
		CacheTTL:                 tokenTTL,
	}
	remembering, _, err := delegating.New()
	if err != nil {
		return nil, fmt.Errorf("make the authenticator: %w", err)
	}
	return &tokens{next: remembering, refused: cache.NewLRUExpireCache(refusedTokens)}, nil
}

// reviewLimit refuses what exceeds the rate, instead of letting it wait.
type reviewLimit struct{ flowcontrol.RateLimiter }

// Wait returns at once.
func (l reviewLimit) Wait(context.Context) error {
	if l.TryAccept() {
		return nil
	}
	return errTooManyReviews
}

// tokens takes bearer tokens only, and remembers those without a user.
type tokens struct {
	next    authenticator.Request
	refused *cache.LRUExpireCache
}

// AuthenticateRequest returns false for a request without a token that it knows.
func (t *tokens) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	token := bearerToken(r)
	if token == "" || len(token) > maxTokenBytes {
		return nil, false, nil
	}
	hash := sha256.Sum256([]byte(token))
	if _, known := t.refused.Get(hash); known {
		return nil, false, nil
	}
	answer, ok, err := t.next.AuthenticateRequest(r)
	if ok || isOutage(err) {
		return answer, ok, err
	}
	t.refused.Add(hash, true, tokenTTL)
	return nil, false, nil
}

// bearerToken returns the token of the Authorization header, or "".
func bearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// isOutage reports whether the API server did not answer, so that it is not known whose token it is. What it says about a token
// is an error without a type.
func isOutage(err error) bool {
	var many utilerrors.Aggregate
	if errors.As(err, &many) {
		for _, err := range many.Errors() {
			if isOutage(err) {
				return true
			}
		}
		return false
	}
	return errors.Is(err, errTooManyReviews) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, new(apierrors.APIStatus)) || errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error))
}

// authenticate returns who the caller is. Otherwise it returns a 401, or a 429 or 503 if that is not known.
func (s *Server) authenticate(r *http.Request) (user.Info, error) {
	answer, ok, err := s.Authenticator.AuthenticateRequest(r)
	switch {
	case ok && err == nil:
		return answer.User, nil
	case errors.Is(err, errTooManyReviews):
		return nil, apierrors.NewTooManyRequests(errTooManyReviews.Error()+", try again later", retrySeconds)
	case err != nil:
		s.Log.Error(err, "Cannot look up a token", "requestID", requestIDOf(r.Context()))
		return nil, unavailable("the token could not be looked up, try again")
	default:
		return nil, unauthorized("a valid bearer token is required: Authorization: Bearer TOKEN")
	}
}
