// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"fmt"
	"sync"
	"time"
)

const (
	// stillFor is the time after which a queue does not move: a reconcile is under way, and none has ended. A reconcile makes
	// some ten requests, so it takes longer only if the API server answers nobody in time, or if the process is stuck.
	stillFor = 30 * time.Second
	// hangsFor is the time after which one reconcile hangs, even if others end. It holds up its home only.
	hangsFor = 5 * time.Minute
)

// pulse knows the reconciles of this process that are under way.
type pulse struct {
	mu      sync.Mutex
	started map[*byte]time.Time
	ended   time.Time // when the latest one ended
}

// begin records that a reconcile begins. end records its end.
func (p *pulse) begin(now time.Time) (end func(now time.Time)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started == nil {
		p.started = map[*byte]time.Time{}
	}
	id := new(byte)
	p.started[id] = now
	return func(now time.Time) {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.started, id)
		p.ended = now
	}
}

// idle reports whether no reconcile is under way.
func (p *pulse) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.started) == 0
}

// check returns an error if the queue does not move, or if a reconcile hangs.
func (p *pulse) check(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.started) == 0 {
		return nil
	}
	oldest := now
	for _, start := range p.started {
		if start.Before(oldest) {
			oldest = start
		}
	}
	still := min(now.Sub(oldest), now.Sub(p.ended))
	switch {
	case still >= stillFor:
		return fmt.Errorf("no reconcile has ended for %s", stillFor)
	case now.Sub(oldest) >= hangsFor:
		return fmt.Errorf("a reconcile has not ended for %s", hangsFor)
	default:
		return nil
	}
}
