// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// inFlight counts the requests in flight by a name, and bounds them.
type inFlight struct {
	most int

	mu    sync.Mutex
	count map[string]int
}

func newInFlight(most int) *inFlight {
	return &inFlight{most: most, count: map[string]int{}}
}

// enter counts one more request until leave is called. It returns a 429 if there are too many. what says what the name is
// of.
func (f *inFlight) enter(what, name string) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[name] >= f.most {
		return nil, apierrors.NewTooManyRequests(
			what+" has as many requests in flight as this gateway allows, try again later", retrySeconds)
	}
	f.count[name]++
	return func() { f.leave(name) }, nil
}

func (f *inFlight) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[name]--; f.count[name] == 0 {
		delete(f.count, name)
	}
}
