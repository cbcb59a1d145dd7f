// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// world makes writes that the operator may make for one key, and counts what happens.
type world struct {
	objects map[types.UID]*v1alpha1.JobRun
	all     map[types.UID]*tally
	next    int
	// seeAll sees each write. seeSome sees some, and lists when it connects again.
	seeAll, seeSome *tracker
	connected       bool
}

// tally is what happened to a run.
type tally struct {
	trigger, leased, end, deleted int64
	// coalesced has the number of triggers of each receipt.
	coalesced map[types.UID]int64
}

func (w *world) write(run *v1alpha1.JobRun) {
	w.objects[run.UID] = run
	w.show(change{run: run.DeepCopy()})
}

func (w *world) show(ch change) {
	w.seeAll.take(ch)
	if w.connected {
		w.seeSome.take(ch)
	}
}

func (w *world) list() change {
	ch := change{listed: true}
	for _, uid := range slices.Sorted(maps.Keys(w.objects)) {
		ch.all = append(ch.all, *w.objects[uid].DeepCopy())
	}
	return ch
}

// find draws one of the objects that match.
func (w *world) find(t *rapid.T, match func(*v1alpha1.JobRun) bool) *v1alpha1.JobRun {
	var found []types.UID
	for _, uid := range slices.Sorted(maps.Keys(w.objects)) {
		if match(w.objects[uid]) {
			found = append(found, uid)
		}
	}
	if len(found) == 0 {
		t.Skip("none")
	}
	return w.objects[rapid.SampledFrom(found).Draw(t, "object")].DeepCopy()
}

func inPhase(phases ...v1alpha1.Phase) func(*v1alpha1.JobRun) bool {
	return func(run *v1alpha1.JobRun) bool { return slices.Contains(phases, run.Status.Phase) }
}

func unbound(run *v1alpha1.JobRun) bool {
	return run.Status.Phase == "" && run.Spec.Admission.Disposition == v1alpha1.DispositionCoalesced
}

func (w *world) waits() bool {
	for _, run := range w.objects {
		if run.Status.Phase == v1alpha1.PhasePending {
			return true
		}
	}
	return false
}

func (w *world) counted(receipt types.UID) bool {
	for _, tally := range w.all {
		if tally.coalesced[receipt] > 0 {
			return true
		}
	}
	return false
}

// newRun returns a JobRun that represents some triggers.
func (w *world) newRun(t *rapid.T, disposition v1alpha1.Disposition) *v1alpha1.JobRun {
	w.next++
	run := withUID(makeRun(fmt.Sprintf("r%04d", w.next), v1alpha1.JobRunStatus{}))
	run.Spec.Admission.Disposition = disposition
	if n := rapid.Int32Range(1, 4).Draw(t, "represents"); n > 1 {
		run.Spec.Represents = &v1alpha1.Represents{Count: n}
	}
	return run
}

func (w *world) enter(run *v1alpha1.JobRun) {
	w.all[run.UID] = &tally{trigger: 1, coalesced: map[types.UID]int64{}}
	if n := run.Represented(); n > 1 {
		run.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: n - 1}
		w.all[run.UID].coalesced[run.UID] = n - 1
	}
	run.Status.Phase, run.Status.RunRef = v1alpha1.PhasePending, refTo(run)
	w.write(run)
}

func (w *world) actions() map[string]func(*rapid.T) {
	leased := inPhase(v1alpha1.PhaseLeased)
	return map[string]func(*rapid.T){
		"create": func(t *rapid.T) {
			if w.waits() {
				t.Skip("taken")
			}
			w.enter(w.newRun(t, v1alpha1.DispositionCreated))
		},
		"promote": func(t *rapid.T) {
			if w.waits() {
				t.Skip("taken")
			}
			w.enter(w.find(t, func(run *v1alpha1.JobRun) bool { return unbound(run) && !w.counted(run.UID) }))
		},
		"absorb": func(t *rapid.T) {
			for range rapid.IntRange(1, 20).Draw(t, "receipts") {
				w.write(w.newRun(t, v1alpha1.DispositionCoalesced))
			}
		},
		"fold":   w.fold,
		"mark":   w.mark,
		"lease":  func(t *rapid.T) { w.lease(w.find(t, inPhase(v1alpha1.PhasePending))) },
		"expire": func(t *rapid.T) { w.expire(w.find(t, leased)) },
		"progress": func(t *rapid.T) {
			run := w.find(t, leased)
			progressed(rapid.Int64().Draw(t, "current"))(run)
			w.write(run)
		},
		"end": func(t *rapid.T) {
			run := w.find(t, inPhase(v1alpha1.PhaseLeased, v1alpha1.PhasePending))
			w.all[run.UID].end = 1
			run.Status.Phase = rapid.SampledFrom([]v1alpha1.Phase{v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled}).Draw(t, "end")
			w.write(run)
		},
		"delete": func(t *rapid.T) {
			// Only marked receipts and ended runs are deleted.
			run := w.find(t, inPhase(v1alpha1.PhaseCoalesced, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled))
			if tally := w.all[run.UID]; tally != nil {
				tally.deleted = 1
			}
			delete(w.objects, run.UID)
			w.show(change{run: run, deleted: true})
		},
		"connect":    func(*rapid.T) { w.reconnect() },
		"disconnect": func(*rapid.T) { w.connected = false },
		"":           func(t *rapid.T) { w.check(t) },
	}
}

func (w *world) reconnect() {
	w.connected = true
	w.seeSome.take(w.list())
}

// fold counts receipts on a run. Entries whose receipt is marked or gone make room.
func (w *world) fold(t *rapid.T) {
	run := w.find(t, inPhase(v1alpha1.PhasePending, v1alpha1.PhaseLeased))
	coalesced := run.Status.Coalesced
	if coalesced == nil {
		coalesced = &v1alpha1.CoalescedTriggers{}
	}
	coalesced.Recent = slices.DeleteFunc(coalesced.Recent, func(e v1alpha1.CoalescedTrigger) bool {
		receipt := w.objects[e.UID]
		return receipt == nil || receipt.Status.Phase == v1alpha1.PhaseCoalesced
	})
	for _, uid := range slices.Sorted(maps.Keys(w.objects)) {
		receipt := w.objects[uid]
		if unbound(receipt) && !w.counted(uid) && len(coalesced.Recent) < v1alpha1.MaxRecent {
			coalesced.Recent = append(coalesced.Recent, *entryOf(receipt))
			coalesced.Count += receipt.Represented()
			w.all[run.UID].coalesced[uid] = receipt.Represented()
		}
	}
	if coalesced.Count == 0 {
		t.Skip("none")
	}
	run.Status.Coalesced = coalesced
	w.write(run)
}

func (w *world) mark(t *rapid.T) {
	receipt := w.find(t, func(run *v1alpha1.JobRun) bool { return unbound(run) && w.counted(run.UID) })
	for uid, tally := range w.all {
		if tally.coalesced[receipt.UID] > 0 {
			receipt.Status.Phase = v1alpha1.PhaseCoalesced
			receipt.Status.RunRef = &v1alpha1.ObjectReference{Name: string(uid[len("uid-"):]), UID: uid}
		}
	}
	w.write(receipt)
}

func (w *world) lease(run *v1alpha1.JobRun) {
	generation := int64(1)
	if run.Status.Lease != nil {
		generation = run.Status.Lease.Generation + 1
	}
	held(generation)(run)
	w.all[run.UID].leased++
	w.write(run)
}

func (w *world) expire(run *v1alpha1.JobRun) {
	run.Status.Attempts++
	if w.waits() {
		settle(v1alpha1.ConditionFailed, reasonLeaseExpired, "")(run)
		run.Status.Phase = v1alpha1.PhaseFailed
		w.all[run.UID].end = 1
		w.write(run)
		return
	}
	run.Status.Lease = &v1alpha1.RunLease{Generation: run.Status.Lease.Generation + 1}
	w.write(run)
	run = run.DeepCopy()
	run.Status.Phase = v1alpha1.PhasePending
	w.write(run)
}

// check compares the events told with what happened.
func (w *world) check(t *rapid.T) {
	w.compare(t, w.seeAll, true)
	if w.connected {
		w.compare(t, w.seeSome, false)
	}
}

func (w *world) compare(t *rapid.T, tr *tracker, sawAll bool) {
	told := map[types.UID]*tally{}
	for i, e := range tr.events {
		got := told[e.Run.UID]
		if got == nil {
			got = &tally{coalesced: map[types.UID]int64{}}
			told[e.Run.UID] = got
			if e.Type != EventTrigger && w.objects[e.Run.UID] != nil {
				t.Fatalf("event %d of %s is %s and comes first", i, e.Run.Name, e.Type)
			}
		}
		w.add(t, got, e, sawAll)
	}
	for uid, want := range w.all {
		got := told[uid]
		if w.objects[uid] == nil {
			if got != nil && sawAll && got.deleted != 1 {
				t.Fatalf("no delete of %s", uid)
			}
			continue
		}
		if got == nil {
			t.Fatalf("nothing of %s in %s", uid, short(tr.events))
		}
		have := [5]int64{got.trigger, got.leased, got.end, got.deleted, got.coalescedCount()}
		if wanted := [5]int64{want.trigger, want.leased, want.end, 0, want.coalescedCount()}; have != wanted {
			t.Fatalf("%s: told %v, happened %v: %s", uid, have, wanted, short(tr.events))
		}
	}
	for uid, run := range tr.told {
		if _, exists := tr.records[uid]; !exists && !tr.names(run, uid) {
			t.Fatalf("%s is remembered for ever", uid)
		}
	}
}

func (w *world) add(t *rapid.T, got *tally, e Event, sawAll bool) {
	want := int64(1)
	switch {
	case e.Type == EventCoalesced && e.Skipped != nil:
		want = max(1, int64(e.Skipped.Represents))
	case e.Type == EventCoalesced: // what the run represents itself
		want = e.Run.Represented() - 1
	}
	if (sawAll || e.Skipped != nil) && e.Count != want {
		t.Fatalf("an event that was seen has count %d, want %d", e.Count, want)
	}
	switch e.Type {
	case EventTrigger:
		got.trigger++
	case EventLeased:
		got.leased += e.Count
	case EventComplete, EventFail, EventCancel:
		got.end++
	case EventDelete:
		got.deleted++
	case EventCoalesced:
		uid := types.UID(fmt.Sprintf("lost-%d", len(got.coalesced)))
		if e.Skipped != nil {
			uid = e.Skipped.UID
		}
		if got.coalesced[uid] > 0 {
			t.Fatalf("%s was told of twice", uid)
		}
		got.coalesced[uid] = e.Count
	}
}

func (t *tally) coalescedCount() (n int64) {
	for _, count := range t.coalesced {
		n += count
	}
	return n
}

// A tracker that misses writes tells the same of the runs that exist as one that sees all.
func TestPropertyEventsAreTheSameHoweverMuchIsSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			objects: map[types.UID]*v1alpha1.JobRun{},
			all:     map[types.UID]*tally{},
			seeAll:  newTracker(nil),
			seeSome: newTracker(nil),
		}
		t.Repeat(w.actions())
		w.reconnect()
		w.check(t)
	})
}
