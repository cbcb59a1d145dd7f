// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// tracker turns states of JobRuns into events. It compares each state with the events that it has told before, so states
// in between may be missing.
type tracker struct {
	labels labels.Selector
	// records has every JobRun that is known to exist.
	records map[types.UID]*record
	// told maps the uid of each receipt whose EventCoalesced was told to the uid of its run. An entry stays while the
	// receipt exists or the run's status.coalesced.recent has it.
	told map[types.UID]types.UID
	// events are the events that drain has not handed over yet.
	events []Event
}

// record is the last state of a JobRun, and what was told of it.
type record struct {
	run       *v1alpha1.JobRun
	selected  bool
	triggered bool
	absorbed  int64
	leases    int64
	// generation is the generation of the last lease told.
	generation int64
	progress   *v1alpha1.Progress
	ended      bool
	// receipts are those that takeEvent told of.
	receipts []types.UID
}

func newTracker(selector labels.Selector) *tracker {
	return &tracker{labels: selector, records: map[types.UID]*record{}, told: map[types.UID]types.UID{}}
}

func (t *tracker) take(ch change) {
	switch {
	case ch.event != nil:
		t.takeEvent(*ch.event)
	case ch.listed:
		t.takeAll(ch.all)
	case ch.deleted:
		t.takeOne(ch.run)
		t.forget(ch.run.UID)
	default:
		t.takeOne(ch.run)
	}
}

// takeAll compares a list with the records. It tells of a run's receipts before the run's count, because the count does
// not name them.
func (t *tracker) takeAll(all []v1alpha1.JobRun) {
	slices.SortStableFunc(all, older)
	listed := map[types.UID]bool{}
	receipts := map[types.UID][]*v1alpha1.JobRun{}
	for i := range all {
		listed[all[i].UID] = true
		if run, ok := absorber(&all[i]); ok {
			receipts[run.UID] = append(receipts[run.UID], &all[i])
		}
	}
	t.forgetOthers(listed)
	for i := range all {
		t.remember(&all[i])
	}
	for i := range all {
		if run := &all[i]; isRun(run) {
			t.takeRun(run, receipts[run.UID])
			delete(receipts, run.UID)
		}
	}
	for i := range all {
		if run, ok := absorber(&all[i]); ok && receipts[run.UID] != nil {
			t.takeReceipt(&all[i], run)
		}
	}
}

func (t *tracker) takeOne(run *v1alpha1.JobRun) {
	t.remember(run)
	if isRun(run) {
		t.takeRun(run, nil)
	} else if ref, ok := absorber(run); ok {
		t.takeReceipt(run, ref)
	}
}

func (t *tracker) remember(run *v1alpha1.JobRun) {
	r, ok := t.records[run.UID]
	if !ok {
		r = t.newRecord(run)
		t.records[run.UID] = r
	}
	before := r.run
	r.run = run
	t.prune(before)
}

func (t *tracker) newRecord(run *v1alpha1.JobRun) *record {
	return &record{selected: t.labels == nil || t.labels.Matches(labels.Set(run.Labels)), run: run}
}

// takeRun tells what is new of a run and of the receipts bound to it.
func (t *tracker) takeRun(run *v1alpha1.JobRun, receipts []*v1alpha1.JobRun) {
	r := t.records[run.UID]
	if !r.triggered {
		r.triggered = true
		t.tell(r, Event{Type: EventTrigger})
	}
	for _, receipt := range receipts {
		t.tellAbsorbed(r, receipt.UID, entryOf(receipt))
	}
	t.tellCounted(r)
	t.tellLeases(r)
	if p := run.Status.Progress; !reflect.DeepEqual(p, r.progress) {
		if r.progress = p; p != nil {
			t.tell(r, Event{Type: EventProgress})
		}
	}
	if end := run.Outcome(); end != "" && !r.ended {
		r.ended = true
		t.tell(r, Event{Type: endEvents[end]})
	}
}

var endEvents = map[v1alpha1.Phase]EventType{
	v1alpha1.PhaseCompleted: EventComplete,
	v1alpha1.PhaseFailed:    EventFail,
	v1alpha1.PhaseCancelled: EventCancel,
}

// takeReceipt tells of a receipt bound to the run ref, which may not have counted it yet.
func (t *tracker) takeReceipt(receipt *v1alpha1.JobRun, ref v1alpha1.ObjectReference) {
	r, known := t.records[ref.UID]
	if !known {
		gone := &v1alpha1.JobRun{}
		gone.Namespace, gone.Name, gone.UID = receipt.Namespace, ref.Name, ref.UID
		gone.Spec.JobName = receipt.Spec.JobName
		r = &record{run: gone}
	}
	t.tellAbsorbed(r, receipt.UID, entryOf(receipt))
}

// tellCounted tells of the triggers that the run counts: first those in recent, then the number of the others.
func (t *tracker) tellCounted(r *record) {
	coalesced := r.run.Status.Coalesced
	if coalesced == nil {
		return
	}
	for i := range coalesced.Recent {
		entry := &coalesced.Recent[i]
		if receipt, ok := t.records[entry.UID]; ok {
			entry = entryOf(receipt.run)
		}
		t.tellAbsorbed(r, entry.UID, entry)
	}
	if more := coalesced.Count - r.absorbed; more > 0 {
		r.absorbed += more
		t.tell(r, Event{Type: EventCoalesced, Count: more})
	}
}

func (t *tracker) tellAbsorbed(r *record, receipt types.UID, entry *v1alpha1.CoalescedTrigger) {
	if t.told[receipt] == r.run.UID {
		return
	}
	t.told[receipt] = r.run.UID
	event := Event{Type: EventCoalesced, Skipped: entry, Count: max(1, int64(entry.Represents))}
	r.absorbed += event.Count
	if own, ok := t.records[receipt]; ok && own.selected && !r.selected {
		t.append(r, event)
		return
	}
	t.tell(r, event)
}

// tellLeases tells of the leases that were acquired: those that expired, which status.attempts counts, and the current
// one.
func (t *tracker) tellLeases(r *record) {
	held := heldGeneration(r.run)
	acquired := int64(r.run.Status.Attempts)
	if held > 0 {
		acquired++
	}
	unseen := acquired - r.leases
	r.leases = acquired
	if held > r.generation {
		r.generation = held
		defer t.tell(r, Event{Type: EventLeased, Generation: held})
		unseen--
	}
	if unseen > 0 {
		t.tell(r, Event{Type: EventLeased, Count: unseen})
	}
}

// tell appends an event if its run is selected.
func (t *tracker) tell(r *record, e Event) {
	if r.selected {
		t.append(r, e)
	}
}

func (t *tracker) append(r *record, e Event) {
	e.Run = r.run
	e.Count = max(e.Count, 1)
	t.events = append(t.events, e)
}

// forgetOthers forgets the JobRuns that are not listed, oldest first.
func (t *tracker) forgetOthers(listed map[types.UID]bool) {
	var gone []v1alpha1.JobRun
	for uid, r := range t.records {
		if !listed[uid] {
			gone = append(gone, *r.run)
		}
	}
	slices.SortStableFunc(gone, older)
	for i := range gone {
		t.forget(gone[i].UID)
	}
}

func (t *tracker) forget(uid types.UID) {
	r, ok := t.records[uid]
	if !ok {
		return
	}
	if r.triggered {
		t.tell(r, Event{Type: EventDelete})
	}
	delete(t.records, uid)
	t.prune(r.run)
	if !t.names(t.told[uid], uid) {
		delete(t.told, uid)
	}
}

// prune forgets the entries of before's recent that will not appear again: recent no longer has them, and their receipts
// are gone.
func (t *tracker) prune(before *v1alpha1.JobRun) {
	if before.Status.Coalesced == nil {
		return
	}
	for _, entry := range before.Status.Coalesced.Recent {
		if _, exists := t.records[entry.UID]; !exists && !t.names(before.UID, entry.UID) {
			delete(t.told, entry.UID)
		}
	}
}

// names reports whether status.coalesced.recent of the run has the receipt.
func (t *tracker) names(run, receipt types.UID) bool {
	r, ok := t.records[run]
	if !ok || r.run.Status.Coalesced == nil {
		return false
	}
	return slices.ContainsFunc(r.run.Status.Coalesced.Recent, func(e v1alpha1.CoalescedTrigger) bool { return e.UID == receipt })
}
