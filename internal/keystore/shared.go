// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// sharedReadTimeout bounds one live read. Each caller that waits for the read has its own deadline, too.
const sharedReadTimeout = 8 * time.Second

// sharedReads gives the answer of one live read to all callers that were waiting for the key when the read
// began. So a storm of duplicates costs one read per round trip, not one per trigger. A caller never joins a
// read that has begun, because that read may show a state from before the call.
type sharedReads struct {
	read func(context.Context, types.NamespacedName) (*v1alpha1.RunKey, error)

	mu      sync.Mutex
	waiting map[types.NamespacedName]*sharedRead // reads that have not begun
	reading map[types.NamespacedName]bool        // keys with a goroutine in serve
}

// sharedRead is a read and its answer. The answer is set before done is closed.
type sharedRead struct {
	done chan struct{}
	key  *v1alpha1.RunKey
	err  error
}

func newSharedReads(read func(context.Context, types.NamespacedName) (*v1alpha1.RunKey, error)) *sharedReads {
	return &sharedReads{read: read, waiting: map[types.NamespacedName]*sharedRead{}, reading: map[types.NamespacedName]bool{}}
}

func (s *sharedReads) get(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	r := s.join(name)
	select {
	case <-r.done:
		return r.key, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns the read of name that begins next.
func (s *sharedReads) join(name types.NamespacedName) *sharedRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, joined := s.waiting[name]
	countShared(joined)
	if joined {
		return r
	}
	r = &sharedRead{done: make(chan struct{})}
	s.waiting[name] = r
	if !s.reading[name] {
		s.reading[name] = true
		go s.serve(name)
	}
	return r
}

// serve reads name again and again until no caller waits for it.
func (s *sharedReads) serve(name types.NamespacedName) {
	for {
		r := s.begin(name)
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), sharedReadTimeout)
		r.key, r.err = s.read(ctx, name)
		cancel()
		close(r.done)
	}
}

// begin returns the next read of name, or nil if no caller waits. After that, no caller joins this read.
func (s *sharedReads) begin(name types.NamespacedName) *sharedRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.waiting[name]
	delete(s.waiting, name)
	if r == nil {
		delete(s.reading, name)
	}
	return r
}
