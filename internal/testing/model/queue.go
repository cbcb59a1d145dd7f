// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// Backoff after failures, as in controller-runtime's default rate limiter.
const (
	backoffBase = 5 * time.Millisecond
	backoffMax  = 1000 * time.Second
)

// Queue is a work queue that keeps the promises of client-go's. An item is in the queue at most once. An
// item that is being worked on is not handed out a second time. If it is added meanwhile, it is queued
// again once that work is done. The scheduler chooses which item is next.
//
// Event handlers of production code add items, a [Controller] takes them.
type Queue[T comparable] struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	ready    []T              // queued, in order of arrival
	working  map[T]bool       // handed out
	again    map[T]bool       // added while handed out
	delayed  []delayedItem[T] // to be queued later
	failures map[T]int
}

type delayedItem[T comparable] struct {
	item T
	at   time.Time
}

var _ workqueue.TypedRateLimitingInterface[string] = (*Queue[string])(nil)

// NewQueue returns an empty queue.
func NewQueue[T comparable](c clock.PassiveClock) *Queue[T] {
	return &Queue[T]{clock: c, working: map[T]bool{}, again: map[T]bool{}, failures: map[T]int{}}
}

// Add implements workqueue.TypedInterface.
func (q *Queue[T]) Add(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(item)
}

func (q *Queue[T]) add(item T) {
	switch {
	case q.working[item]:
		q.again[item] = true
	case !slices.Contains(q.ready, item):
		q.ready = append(q.ready, item)
	}
}

// AddAfter implements workqueue.TypedDelayingInterface. Of two times for one item, the earlier one counts.
func (q *Queue[T]) AddAfter(item T, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d <= 0 {
		q.add(item)
		return
	}
	at := q.clock.Now().Add(d)
	i := slices.IndexFunc(q.delayed, func(other delayedItem[T]) bool { return other.item == item })
	if i < 0 {
		q.delayed = append(q.delayed, delayedItem[T]{item: item, at: at})
	} else if at.Before(q.delayed[i].at) {
		q.delayed[i].at = at
	}
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) AddRateLimited(item T) {
	q.mu.Lock()
	failures := q.failures[item]
	q.failures[item]++
	q.mu.Unlock()
	delay := backoffMax
	if failures < 18 { // 5ms * 2^18 exceeds the maximum
		delay = backoffBase << failures
	}
	q.AddAfter(item, delay)
}

// Forget implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) Forget(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failures, item)
}

// NumRequeues implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) NumRequeues(item T) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures[item]
}

// Len implements workqueue.TypedInterface.
func (q *Queue[T]) Len() int { return len(q.Ready()) }

// Ready returns the queued items in the order of their arrival.
func (q *Queue[T]) Ready() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	q.delayed = slices.DeleteFunc(q.delayed, func(d delayedItem[T]) bool {
		due := !d.at.After(now)
		if due {
			q.add(d.item)
		}
		return due
	})
	return slices.Clone(q.ready)
}

// Take hands out the given item. It replaces Get, which would choose one.
func (q *Queue[T]) Take(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready = slices.DeleteFunc(q.ready, func(other T) bool { return other == item })
	q.working[item] = true
}

// Done implements workqueue.TypedInterface.
func (q *Queue[T]) Done(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, item)
	if q.again[item] {
		delete(q.again, item)
		q.add(item)
	}
}

// Wake returns when the next delayed item is due. Zero means that there is none.
func (q *Queue[T]) Wake() (at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.delayed {
		if at.IsZero() || d.at.Before(at) {
			at = d.at
		}
	}
	return at
}

// Get implements workqueue.TypedInterface. It panics, because the scheduler hands out the items.
func (*Queue[T]) Get() (T, bool) { panic("items of a model.Queue are handed out by the scheduler") }

// ShutDown implements workqueue.TypedInterface. It does nothing: a queue ends with its process.
func (*Queue[T]) ShutDown() {}

// ShutDownWithDrain implements workqueue.TypedInterface.
func (*Queue[T]) ShutDownWithDrain() {}

// ShuttingDown implements workqueue.TypedInterface.
func (*Queue[T]) ShuttingDown() bool { return false }
