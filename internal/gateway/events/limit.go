// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// retryAfterSeconds is when a caller with too many streams may ask again.
const retryAfterSeconds = 5

// limit bounds the open streams of each caller, and of all callers.
type limit struct {
	perCaller, total int

	mu     sync.Mutex
	open   int
	caller map[string]int
}

// enter counts a stream. The caller calls leave once, when the stream ends. Its error is a 429.
func (l *limit) enter(caller string) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.caller[caller] >= l.perCaller {
		message := fmt.Sprintf("%q has %d streams open, and may have no more", caller, l.perCaller)
		return nil, apierrors.NewTooManyRequests(message, retryAfterSeconds)
	}
	if l.open >= l.total {
		message := fmt.Sprintf("%d streams are open, and this gateway takes no more", l.total)
		return nil, apierrors.NewTooManyRequests(message, retryAfterSeconds)
	}
	if l.caller == nil {
		l.caller = map[string]int{}
	}
	l.caller[caller]++
	l.open++
	return func() { l.leave(caller) }, nil
}

func (l *limit) leave(caller string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.caller[caller]--; l.caller[caller] == 0 {
		delete(l.caller, caller)
	}
}
