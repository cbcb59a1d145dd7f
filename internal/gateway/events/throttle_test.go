// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	a1, a2, a3, b1, b2 := &event{run: "a"}, &event{run: "a"}, &event{run: "a"}, &event{run: "b"}, &event{run: "b"}
	var th throttle
	mustEqual(t, "holds the first", th.hold(a1, 1, at(0)), false)
	mustEqual(t, "holds the first of another run", th.hold(b1, 2, at(10)), false)
	mustEqual(t, "up to", th.upTo(9), 9)
	mustEqual(t, "holds", th.hold(b2, 3, at(20)), true)
	mustEqual(t, "holds", th.hold(a2, 4, at(30)), true)
	mustEqual(t, "holds in its place", th.hold(a3, 5, at(40)), true)
	mustEqual(t, "up to", th.upTo(9), 3)
	due, ok := th.next()
	mustEqual(t, "is to pass", ok, true)
	mustEqual(t, "at", due, at(100))
	mustEqual(t, "pass early", len(th.pass(at(99))), 0)

	passing := th.pass(at(110))
	mustEqual(t, "pass", len(passing), 2)
	mustEqual(t, "the older first", passing[0].event, b2)
	mustEqual(t, "the last one of a run", passing[1].event, a3)
	mustEqual(t, "soon after it", th.hold(a1, 6, at(120)), true)
	mustEqual(t, "another event follows", th.release("a"), a1)
	mustEqual(t, "once", th.release("a"), nil)
	mustEqual(t, "of an unknown run", th.release("c"), nil)

	mustEqual(t, "pass nothing", len(th.pass(at(300))), 0)
	_, ok = th.next()
	mustEqual(t, "forgets runs without progress", ok, false)
	mustEqual(t, "entries", len(th.runs), 0)
}
