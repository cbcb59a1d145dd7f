// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// Bounds of authentication.
const (
	// tokenTTL is how long an answer about a token is believed.
	tokenTTL = 10 * time.Second
	// maxTokenBytes bounds a token. Those of ServiceAccounts have some 1 KiB.
	maxTokenBytes = 16 << 10
	// reviewsPerSecond and reviewsBurst bound the TokenReviews, so that a flood of bad tokens does not become one of the API
	// server. They bound what is remembered, too. They hold once for tokens that were accepted lately, and once for all others.
	reviewsPerSecond = 200
	reviewsBurst     = 1000
	// reviewTimeout bounds one TokenReview.
	reviewTimeout = 5 * time.Second
)

// reviewRetries of one TokenReview take at most half a second, without the time of the requests.
var reviewRetries = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}

// errTooManyReviews means that too many tokens whose answers are not remembered came at once.
var errTooManyReviews = errors.New("too many unknown tokens at once")

// outageError means that the API server did not say whose a token is.
type outageError struct{ error }

// NewAuthenticator returns an authenticator that asks the API server by a TokenReview. It remembers the answers for 10 s,
// also those that no user has the token. It makes at most 200 TokenReviews a second, and 1,000 at once, about tokens that it
// accepted in the last hour, and as many about others: a flood of bad tokens does not lock callers out that were here before.
// It accepts tokens for one of the audiences, or those for the API server if there are none.
// These are the parts of authenticatorfactory, which remembers no refusals and has no place for the bound.
func NewAuthenticator(config *rest.Config, httpClient *http.Client, audiences ...string) (authenticator.Request, error) {
	reviews, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for TokenReviews: %w", err)
	}
	authenticatorfactory.RegisterMetrics()
	reviewer, err := webhook.NewFromInterface(reviews, nil, reviewRetries, reviewTimeout, webhook.AuthenticatorMetrics{
		RecordRequestTotal: authenticatorfactory.RecordRequestTotal, RecordRequestLatency: authenticatorfactory.RecordRequestLatency,
	})
	if err != nil {
		return nil, fmt.Errorf("make the authenticator: %w", err)
	}
	accepted, err := newAcceptedTokens()
	if err != nil {
		return nil, err
	}
	limited := &limitedTokens{
		next: reviewer, accepted: accepted,
		known:   flowcontrol.NewTokenBucketRateLimiter(reviewsPerSecond, reviewsBurst),
		unknown: flowcontrol.NewTokenBucketRateLimiter(reviewsPerSecond, reviewsBurst),
	}
	remembered := tokencache.New(limited, false, tokenTTL, tokenTTL)
	return group.NewAuthenticatedGroupAdder(bearertoken.New(shortTokens{audienceTokens{remembered, audiences}})), nil
}

// audienceTokens asks for tokens for one of its audiences. Without any, the API server asks for its own.
type audienceTokens struct {
	next      authenticator.Token
	audiences authenticator.Audiences
}

// AuthenticateToken returns false for a token that is for none of the audiences.
func (a audienceTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if len(a.audiences) > 0 {
		ctx = authenticator.WithAudiences(ctx, a.audiences)
	}
	return a.next.AuthenticateToken(ctx, token)
}

// shortTokens refuses tokens of more than maxTokenBytes.
type shortTokens struct{ next authenticator.Token }

// AuthenticateToken returns false for a token that is too long.
func (s shortTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if len(token) > maxTokenBytes {
		return nil, false, nil
	}
	return s.next.AuthenticateToken(ctx, token)
}

// limitedTokens bounds how often the next authenticator is asked.
type limitedTokens struct {
	next     authenticator.Token
	accepted *acceptedTokens
	// known is the bound for tokens that were accepted lately, unknown that for all others.
	known, unknown flowcontrol.RateLimiter
}

// AuthenticateToken returns false without an error for a token of no user, so that the cache in front of it remembers that.
// errTooManyReviews and an outageError mean that the answer is not known.
func (l *limitedTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	rate := l.unknown
	if l.accepted.has(token) {
		rate = l.known
	}
	if !rate.TryAccept() {
		return nil, false, errTooManyReviews
	}
	answer, ok, err := l.next.AuthenticateToken(ctx, token)
	if err != nil && isOutage(err) {
		return nil, false, &outageError{err}
	}
	l.accepted.note(token, ok)
	return answer, ok, nil
}

// isOutage reports whether the API server did not answer. What it says about a token is an error without a type.
func isOutage(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, new(apierrors.APIStatus)) || errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error))
}

// authenticate returns who the caller is. Otherwise it returns a 401, or a 429 or 503 if that is not known.
func (s *Server) authenticate(r *http.Request) (user.Info, error) {
	// The authenticator removes a token that it accepts. A stream asks about its token again.
	asked := (&http.Request{Header: http.Header{"Authorization": r.Header["Authorization"]}}).WithContext(r.Context())
	answer, ok, err := s.Authenticator.AuthenticateRequest(asked)
	switch {
	case ok && err == nil:
		return answer.User, nil
	case errors.Is(err, errTooManyReviews):
		return nil, apierrors.NewTooManyRequests(errTooManyReviews.Error()+", try again later", retrySeconds)
	case errors.As(err, new(*outageError)):
		s.Log.Error(err, "Cannot look up a token", "requestID", requestIDOf(r.Context()))
		return nil, unavailable("the token could not be looked up, try again")
	default:
		return nil, unauthorized("a valid bearer token is required: Authorization: Bearer TOKEN")
	}
}
