// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// progressInterval is the shortest time between two progress events of a run.
const progressInterval = 100 * time.Millisecond

// throttle holds back the progress events of a stream that come too soon after the one before. It keeps the last one of each
// run.
type throttle struct{ runs map[types.UID]*pace }

// pace is when the next progress event of a run may pass, and which one waits for that.
type pace struct {
	due  time.Time
	held *heldEvent
}

// heldEvent is an event that is held back. A stream that lacks it has everything up to before.
type heldEvent struct {
	event  *event
	before uint64
}

// hold holds a progress event back, in place of an earlier one. It returns false if the event may pass at once.
func (t *throttle) hold(e *event, before uint64, now time.Time) bool {
	p, ok := t.runs[e.run]
	if !ok {
		if t.runs == nil {
			t.runs = map[types.UID]*pace{}
		}
		t.runs[e.run] = &pace{due: now.Add(progressInterval)}
		return false
	}
	p.held = &heldEvent{e, before}
	return true
}

// release returns the held event of a run, or nil, because another event of the run follows.
func (t *throttle) release(run types.UID) *event {
	p := t.runs[run]
	if p == nil || p.held == nil {
		return nil
	}
	e := p.held.event
	p.held = nil
	return e
}

// pass returns the events that need not wait longer, in the order in which they happened.
func (t *throttle) pass(now time.Time) []*heldEvent {
	var passing []*heldEvent
	for run, p := range t.runs {
		if p.due.After(now) {
			continue
		}
		if p.held == nil {
			delete(t.runs, run)
			continue
		}
		passing = append(passing, p.held)
		p.held, p.due = nil, now.Add(progressInterval)
	}
	slices.SortFunc(passing, func(a, b *heldEvent) int { return cmp.Compare(a.before, b.before) })
	return passing
}

// next returns when to call pass again. It reports false if there is nothing to wait for.
func (t *throttle) next() (due time.Time, ok bool) {
	for _, p := range t.runs {
		if !ok || p.due.Before(due) {
			due, ok = p.due, true
		}
	}
	return due, ok
}

// upTo returns the version up to which a stream has everything, if it has everything up to version but what is held back.
func (t *throttle) upTo(version uint64) uint64 {
	for _, p := range t.runs {
		if p.held != nil {
			version = min(version, p.held.before)
		}
	}
	return version
}
