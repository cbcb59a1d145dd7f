// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var sharedKey = types.NamespacedName{Namespace: "default", Name: "c-x"}

// slowly answers each read after a second, with a key that holds the number of the read.
func slowly(begun *atomic.Int64) func(context.Context, types.NamespacedName) (*v1alpha1.RunKey, error) {
	return func(_ context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
		n := begun.Add(1)
		time.Sleep(time.Second)
		key := &v1alpha1.RunKey{}
		key.Name, key.Generation = name.Name, n
		return key, nil
	}
}

// asked is a call of Get that may not have returned yet.
type asked struct {
	read int64
	err  error
	took time.Duration
}

func ask(ctx context.Context, s *SharedReads[*v1alpha1.RunKey], name types.NamespacedName) <-chan asked {
	answer := make(chan asked, 1)
	start := time.Now()
	go func() {
		key, err := s.Get(ctx, name)
		a := asked{err: err, took: time.Since(start)}
		if key != nil {
			a.read = key.Generation
		}
		answer <- a
	}()
	return answer
}

// A caller never joins a read that has begun, because the read may show a state from before the call.
func TestSharedReadsDoNotJoinABegunRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		s := NewSharedReads(slowly(&begun), nil)
		first := ask(t.Context(), s, sharedKey)
		time.Sleep(500 * time.Millisecond)
		second := ask(t.Context(), s, sharedKey)
		if got := <-first; got.read != 1 || got.took != time.Second {
			t.Errorf("the first asker has read %d after %s", got.read, got.took)
		}
		if got := <-second; got.read != 2 || got.took != 1500*time.Millisecond {
			t.Errorf("the second asker has read %d after %s", got.read, got.took)
		}
	})
}

// All callers that wait when a read begins get its answer.
func TestSharedReadsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		s := NewSharedReads(slowly(&begun), nil)
		first := ask(t.Context(), s, sharedKey)
		synctest.Wait()
		var others []<-chan asked
		for range 1000 {
			others = append(others, ask(t.Context(), s, sharedKey))
		}
		<-first
		for _, other := range others {
			if got := <-other; got.read != 2 || got.took != 2*time.Second {
				t.Fatalf("a waiter has read %d after %s", got.read, got.took)
			}
		}
		if n := begun.Load(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}
	})
}

// Reads of different keys do not wait for each other.
func TestSharedReadsOfDifferentKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		s := NewSharedReads(slowly(&begun), nil)
		first := ask(t.Context(), s, sharedKey)
		second := ask(t.Context(), s, types.NamespacedName{Namespace: "other", Name: sharedKey.Name})
		if a, b := <-first, <-second; a.took != time.Second || b.took != time.Second || a.read == b.read {
			t.Errorf("reads %+v, %+v", a, b)
		}
	})
}

// A caller that stops waiting does not stop the read for the others.
func TestSharedReadsCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		s := NewSharedReads(slowly(&begun), nil)
		impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		owner := ask(impatient, s, sharedKey)
		synctest.Wait()
		leaver, patient := ask(impatient, s, sharedKey), ask(t.Context(), s, sharedKey)
		for _, gone := range []<-chan asked{owner, leaver} {
			if got := <-gone; !errors.Is(got.err, context.DeadlineExceeded) || got.took != 300*time.Millisecond {
				t.Errorf("the caller that left has %+v", got)
			}
		}
		if got := <-patient; got.err != nil || got.read != 2 || got.took != 2*time.Second {
			t.Errorf("the caller that stayed has %+v", got)
		}
	})
}

// A read has its own deadline, even if its callers have none.
func TestSharedReadsHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSharedReads(func(ctx context.Context, _ types.NamespacedName) (*v1alpha1.RunKey, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, nil)
		if got := <-ask(t.Context(), s, sharedKey); !errors.Is(got.err, context.DeadlineExceeded) || got.took != sharedReadTimeout {
			t.Errorf("the answer is %+v", got)
		}
	})
}

// Callers share the error of a read. The next read is made anew.
func TestSharedReadsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("connection refused")
		fails := true
		s := NewSharedReads(func(context.Context, types.NamespacedName) (*v1alpha1.RunKey, error) {
			time.Sleep(time.Second)
			if fails {
				return nil, broken
			}
			return &v1alpha1.RunKey{}, nil
		}, nil)
		if got := <-ask(t.Context(), s, sharedKey); !errors.Is(got.err, broken) {
			t.Errorf("the answer is %+v", got)
		}
		fails = false
		if got := <-ask(t.Context(), s, sharedKey); got.err != nil {
			t.Errorf("the answer is %+v", got)
		}
	})
}

// After the last read of a key, nothing is kept of it.
func TestSharedReadsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		s := NewSharedReads(slowly(&begun), nil)
		for range 3 {
			<-ask(t.Context(), s, sharedKey)
			synctest.Wait()
		}
		if begun.Load() != 3 || len(s.reading) != 0 || len(s.waiting) != 0 {
			t.Errorf("%d reads, reading %v, waiting %v", begun.Load(), s.reading, s.waiting)
		}
	})
}
