// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync"
)

// bytesHeld bounds the bytes that requests hold in memory: those of each caller, and those of all.
type bytesHeld struct {
	perCaller, total int64

	mu     sync.Mutex
	all    int64
	caller map[string]int64
}

func newBytesHeld(perCaller, total int64) *bytesHeld {
	return &bytesHeld{perCaller: perCaller, total: total, caller: map[string]int64{}}
}

// take counts bytes of a caller until give is called. It returns false, and counts none, beyond a bound.
func (b *bytesHeld) take(caller string, size int64) bool { return b.count(caller, size, size) }

// pass counts bytes of a caller that are not held, until passed is called. It returns what take would, so the answer does not tell
// whether they are.
func (b *bytesHeld) pass(caller string, size int64) bool { return b.count(caller, size, 0) }

func (b *bytesHeld) count(caller string, size, held int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.caller[caller]+size > b.perCaller || b.all+size > b.total {
		return false
	}
	if size > 0 {
		b.caller[caller] += size
		b.all += held
	}
	return true
}

// give is the end of what take counted.
func (b *bytesHeld) give(caller string, size int64) { b.end(caller, size, size) }

// passed is the end of what pass counted.
func (b *bytesHeld) passed(caller string, size int64) { b.end(caller, size, 0) }

func (b *bytesHeld) end(caller string, size, held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all -= held
	if b.caller[caller] -= size; b.caller[caller] <= 0 {
		delete(b.caller, caller)
	}
}
