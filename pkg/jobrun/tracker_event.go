// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"reflect"

	"k8s.io/apimachinery/pkg/types"
)

// takeEvent tells an event that a gateway told, unless it was told before: after a lost connection, a gateway repeats what it told
// last. The gateway has selected the event.
func (t *tracker) takeEvent(e Event) {
	r, known := t.records[e.Run.UID]
	switch {
	case known && exists(e):
		r.run = e.Run
	case !known && e.Type == EventDelete:
		return
	case !known:
		if r = t.newRecord(e.Run); exists(e) {
			t.records[e.Run.UID] = r
		}
	}
	if e.Count = t.news(r, e); e.Count == 0 {
		return
	}
	t.events = append(t.events, e)
	if e.Type == EventDelete {
		t.drop(e.Run.UID)
	}
}

// exists reports whether the run of an event is a state of it. A run that no longer existed has nothing but its name, uid and jobName.
func exists(e Event) bool { return e.Run.ResourceVersion != "" }

// news returns for how many events an event stands that were not told yet, and notes them.
func (t *tracker) news(r *record, e Event) int64 {
	switch e.Type {
	case EventTrigger:
		return first(&r.triggered)
	case EventComplete, EventFail, EventCancel:
		return first(&r.ended)
	case EventCoalesced:
		return t.newlyAbsorbed(r, e)
	case EventLeased:
		return newLeases(r, e)
	case EventProgress:
		progress := e.Run.Status.Progress
		if reflect.DeepEqual(progress, r.progress) {
			return 0
		}
		r.progress = progress
	case EventDelete:
	}
	return e.Count
}

// first sets a mark. It returns 1 if it was not set.
func first(mark *bool) int64 {
	if *mark {
		return 0
	}
	*mark = true
	return 1
}

func (t *tracker) newlyAbsorbed(r *record, e Event) int64 {
	if e.Skipped != nil {
		receipt := e.Skipped.UID
		if t.told[receipt] == e.Run.UID {
			return 0
		}
		if t.told[receipt] = e.Run.UID; exists(e) {
			r.receipts = append(r.receipts, receipt)
		}
		r.absorbed += e.Count
		return e.Count
	}
	more := e.Count
	if coalesced := e.Run.Status.Coalesced; coalesced != nil {
		more = max(0, min(more, coalesced.Count-r.absorbed))
	}
	r.absorbed += more
	return more
}

func newLeases(r *record, e Event) int64 {
	more := e.Count
	if e.Generation > 0 {
		if e.Generation <= r.generation {
			return 0
		}
		r.generation = e.Generation
	} else {
		acquired := int64(e.Run.Status.Attempts)
		if heldGeneration(e.Run) > 0 {
			acquired++
		}
		more = max(0, min(more, acquired-r.leases))
	}
	r.leases += more
	return more
}

// drop forgets a run whose EventDelete was told, and the receipts of its events.
func (t *tracker) drop(run types.UID) {
	r := t.records[run]
	for _, receipt := range r.receipts {
		if t.told[receipt] == run {
			delete(t.told, receipt)
		}
	}
	r.triggered = false // forget tells of no deletion then
	t.forget(run)
}
