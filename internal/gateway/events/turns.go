// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"sync"
)

// turns lets each caller do one thing at a time.
type turns struct {
	mu      sync.Mutex
	callers map[string]*turn
}

// turn has an element in slot while its caller does something. waiting counts who does and who waits for it.
type turn struct {
	slot    chan struct{}
	waiting int
}

// wait waits for the turn of a caller. It returns the error of ctx if that ends before. The caller calls done once.
func (t *turns) wait(ctx context.Context, caller string) (done func(), err error) {
	own := t.join(caller)
	select {
	case own.slot <- struct{}{}:
		return func() {
			<-own.slot
			t.leave(caller)
		}, nil
	case <-ctx.Done():
		t.leave(caller)
		return nil, ctx.Err()
	}
}

func (t *turns) join(caller string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.callers == nil {
		t.callers = map[string]*turn{}
	}
	if t.callers[caller] == nil {
		t.callers[caller] = &turn{slot: make(chan struct{}, 1)}
	}
	t.callers[caller].waiting++
	return t.callers[caller]
}

func (t *turns) leave(caller string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.callers[caller].waiting--; t.callers[caller].waiting == 0 {
		delete(t.callers, caller)
	}
}
