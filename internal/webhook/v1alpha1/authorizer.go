// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

const (
	// allowTTL and denyTTL are how long an answer of the API server is believed. A refusal is asked again soon, because its
	// reader is about to add the rule that it names.
	allowTTL = 10 * time.Second
	denyTTL  = time.Second
	// maxRememberedUser bounds the bytes of a user whose answers are remembered.
	maxRememberedUser = 8 << 10
)

// retries of one question take at most a second, without the time of the requests.
var retries = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 4}

// NewAuthorizer returns an authorizer that asks the API server by a SubjectAccessReview. It remembers the latest 8192 answers:
// those that allow for 10 s, those that do not for a second. It remembers no answer about a user of more than 8 KiB, because
// the webhook does not know who calls it, and a caller could fill its memory with such users.
func NewAuthorizer(config *rest.Config, httpClient *http.Client) (authorizer.Authorizer, error) {
	reviews, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for SubjectAccessReviews: %w", err)
	}
	delegating := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: reviews,
		Compiler:                  authorizationcel.NewDefaultCompiler(),
		AllowCacheTTL:             allowTTL,
		DenyCacheTTL:              denyTTL,
		WebhookRetryBackoff:       &retries,
	}
	cached, err := delegating.New()
	if err != nil {
		return nil, fmt.Errorf("make the authorizer: %w", err)
	}
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if sizeOfUser(a.GetUser()) <= maxRememberedUser {
			return cached.Authorize(ctx, a)
		}
		once, err := delegating.New()
		if err != nil {
			return authorizer.DecisionNoOpinion, "", err
		}
		return once.Authorize(ctx, a)
	}), nil
}

// sizeOfUser returns the bytes of all texts of a user.
func sizeOfUser(u user.Info) int {
	size := len(u.GetName()) + len(u.GetUID())
	for _, group := range u.GetGroups() {
		size += len(group)
	}
	for key, values := range u.GetExtra() {
		size += len(key)
		for _, value := range values {
			size += len(value)
		}
	}
	return size
}
