// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// CallTimeout is how long one request may take before it is sent again.
const CallTimeout = 10 * time.Second

// NewBackoff returns the pauses between attempts: 200 ms, doubling up to 10 s, plus up to 20 %.
func NewBackoff() wait.Backoff {
	return wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 30, Cap: 10 * time.Second}
}

// RefusedForGood reports whether the API server will give the same answer until something else changes, such as the
// caller's rights or the CRD.
func RefusedForGood(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	if TooLarge(err) {
		return true
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError &&
		code != http.StatusTooManyRequests && code != http.StatusGone && code != http.StatusConflict
}

// TooLarge reports whether the API server refused a request for its size, or could not store it for its size. etcd refuses
// 1.5 MiB, and the API server passes that on as a 500 without a reason.
func TooLarge(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	message := status.Status().Message
	return apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(message, "etcdserver: request is too large") || strings.Contains(message, "trying to send message larger than max")
}

// Pause waits for d by the clock c. It returns false if ctx ends first.
func Pause(ctx context.Context, c clock.Clock, d time.Duration) bool {
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
