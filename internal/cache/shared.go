// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// sharedReadTimeout bounds one live read. Each caller that waits for the read has its own deadline, too.
const sharedReadTimeout = 8 * time.Second

// SharedReads gives the answer of one live read to all callers that were waiting for the object when the read
// began. So a storm of duplicates costs one read per round trip, not one per trigger. A caller never joins a
// read that has begun, because that read may show a state from before the call.
type SharedReads[T any] struct {
	read  func(context.Context, types.NamespacedName) (T, error)
	count func(joined bool)

	mu      sync.Mutex
	waiting map[types.NamespacedName]*sharedRead[T] // reads that have not begun
	reading map[types.NamespacedName]bool           // objects with a goroutine in serve
}

// sharedRead is a read and its answer. The answer is set before done is closed.
type sharedRead[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// NewSharedReads returns SharedReads of what read returns. count is called for each caller, with whether it joined the read of
// another one; nil counts nothing.
func NewSharedReads[T any](read func(context.Context, types.NamespacedName) (T, error), count func(joined bool)) *SharedReads[T] {
	if count == nil {
		count = func(bool) {}
	}
	return &SharedReads[T]{
		read: read, count: count, waiting: map[types.NamespacedName]*sharedRead[T]{}, reading: map[types.NamespacedName]bool{},
	}
}

// Get returns the answer of a read that began after the call. Callers share it and must not change it.
func (s *SharedReads[T]) Get(ctx context.Context, name types.NamespacedName) (T, error) {
	r := s.join(name)
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// join returns the read of name that begins next.
func (s *SharedReads[T]) join(name types.NamespacedName) *sharedRead[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, joined := s.waiting[name]
	s.count(joined)
	if joined {
		return r
	}
	r = &sharedRead[T]{done: make(chan struct{})}
	s.waiting[name] = r
	if !s.reading[name] {
		s.reading[name] = true
		go s.serve(name)
	}
	return r
}

// serve reads name again and again until no caller waits for it.
func (s *SharedReads[T]) serve(name types.NamespacedName) {
	for {
		r := s.begin(name)
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), sharedReadTimeout)
		r.value, r.err = s.read(ctx, name)
		cancel()
		close(r.done)
	}
}

// begin returns the next read of name, or nil if no caller waits. After that, no caller joins this read.
func (s *SharedReads[T]) begin(name types.NamespacedName) *sharedRead[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.waiting[name]
	delete(s.waiting, name)
	if r == nil {
		delete(s.reading, name)
	}
	return r
}
