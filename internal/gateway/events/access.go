// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// accessInterval is how often a stream asks whether its caller may still have it. maxUnanswered is how many such questions
	// in a row may stay without an answer.
	accessInterval = time.Minute
	maxUnanswered  = 5
	// askTimeout bounds one such question.
	askTimeout = 10 * time.Second
)

// Access is the right of a caller to an open stream. It is not safe for concurrent use.
type Access struct {
	// Allowed asks whether the caller may still have the stream. The answer no is a 401 or a 403, as the API server's errors
	// are.
	Allowed func(context.Context) error

	// unanswered is how many questions in a row had no answer.
	unanswered int
}

// AccessInterval returns the time between two questions of a stream: up to a tenth less than a minute, so that the streams
// do not ask all at once.
func AccessInterval() time.Duration {
	return accessInterval - rand.N(accessInterval/10) //nolint:gosec // G404: no secret
}

// Ask returns an error if the caller may no longer have the stream. While the API server does not answer, the stream goes on
// for five questions.
func (a *Access) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := a.Allowed(ctx)
	if err == nil {
		a.unanswered = 0
		return nil
	}
	if a.unanswered++; !apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err) && a.unanswered <= maxUnanswered {
		return nil
	}
	return err
}
