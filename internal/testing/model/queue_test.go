// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestQueue(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
	q := NewQueue[string](clock)
	pass := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }

	q.Add("a")
	q.Add("b")
	q.Add("a")
	expect(t, "added", q.Ready(), "a", "b")

	q.Take("b")
	expect(t, "b is taken", q.Ready(), "a")
	q.Add("b")
	expect(t, "b is worked on", q.Ready(), "a")
	q.Done("b")
	expect(t, "b was added meanwhile", q.Ready(), "a", "b")
	q.Take("a")
	q.Take("b")
	q.Done("a")
	q.Done("b")
	expect(t, "all done", q.Ready())

	q.AddAfter("c", time.Minute)
	q.AddAfter("c", time.Hour)
	if at := q.Wake(); !at.Equal(clock.Now().Add(time.Minute)) {
		t.Errorf("wakes at %v", at)
	}
	pass(time.Minute)
	expect(t, "c is due", q.Ready(), "c")
	if at := q.Wake(); !at.IsZero() {
		t.Errorf("wakes again at %v", at)
	}

	q.AddRateLimited("d")
	q.AddRateLimited("d")
	if n := q.NumRequeues("d"); n != 2 {
		t.Errorf("%d failures", n)
	}
	if at := q.Wake(); !at.Equal(clock.Now().Add(5 * time.Millisecond)) {
		t.Errorf("the first failure waits until %v", at)
	}
	pass(10 * time.Millisecond)
	expect(t, "d is due", q.Ready(), "c", "d")
	q.Forget("d")
	if n := q.NumRequeues("d"); n != 0 {
		t.Errorf("%d failures after it was forgotten", n)
	}
}
