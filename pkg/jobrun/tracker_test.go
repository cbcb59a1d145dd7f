// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// short renders events, for example: trigger(a) coalesced(a b) leased(a 1).
func short(events []Event) string {
	var texts []string
	for _, e := range events {
		text := strings.TrimPrefix(string(e.Type), "run:") + "(" + e.Run.Name
		if e.Skipped != nil {
			text += " " + e.Skipped.Name
		}
		if e.Generation > 0 {
			text += fmt.Sprintf(" %d", e.Generation)
		}
		if e.Count > 1 {
			text += fmt.Sprintf(" x%d", e.Count)
		}
		texts = append(texts, text+")")
	}
	return strings.Join(texts, " ")
}

func withUID(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	run.UID = types.UID("uid-" + run.Name)
	return run
}

func changed(run *v1alpha1.JobRun, changes ...func(*v1alpha1.JobRun)) change {
	run = run.DeepCopy()
	for _, c := range changes {
		c(run)
	}
	return change{run: run}
}

func listed(runs ...*v1alpha1.JobRun) change {
	ch := change{listed: true}
	for _, run := range runs {
		ch.all = append(ch.all, *run)
	}
	return ch
}

func held(generation int64) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Phase = v1alpha1.PhaseLeased
		run.Status.Lease = &v1alpha1.RunLease{Generation: generation, HolderIdentity: "worker"}
	}
}

func expired(attempts int32) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Phase = v1alpha1.PhasePending
		run.Status.Attempts = attempts
		run.Status.Lease = &v1alpha1.RunLease{Generation: int64(2 * attempts)}
	}
}

func counts(n int64, recent ...*v1alpha1.JobRun) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: n}
		for _, receipt := range recent {
			entry := v1alpha1.CoalescedTrigger{Name: receipt.Name, UID: receipt.UID, Input: "cut"}
			if r := receipt.Spec.Represents; r != nil {
				entry.Represents = r.Count
			}
			run.Status.Coalesced.Recent = append(run.Status.Coalesced.Recent, entry)
		}
	}
}

func TestEvents(t *testing.T) {
	a := withUID(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
	b, c := withUID(receiptOf(a, "b")), withUID(receiptOf(a, "c"))
	shared := withUID(receiptOf(a, "s"))
	shared.Spec.Represents = &v1alpha1.Represents{Count: 40}
	unboundShared := shared.DeepCopy()
	unboundShared.Status = v1alpha1.JobRunStatus{}
	unbound := b.DeepCopy()
	unbound.Status = v1alpha1.JobRunStatus{}
	idempotent := withUID(receiptOf(a, "i"))
	idempotent.Status.Phase = v1alpha1.PhaseIdempotent
	idempotent.Spec.Admission.Disposition = v1alpha1.DispositionIdempotent
	for name, tc := range map[string]struct {
		changes []change
		want    string
	}{
		"a life": {
			[]change{
				listed(), changed(a), changed(a, held(1)), changed(a, held(1), progressed(1)), changed(a, held(1), progressed(1)),
				changed(a, held(1), progressed(2)), changed(a, held(1), end(v1alpha1.PhaseCompleted, "")),
				{run: changed(a, held(1), end(v1alpha1.PhaseCompleted, "")).run, deleted: true},
			},
			"trigger(a) leased(a 1) progress(a) progress(a) complete(a) delete(a)",
		},
		"a life that was not seen": {
			[]change{listed(changed(a, held(1), progressed(3), end(v1alpha1.PhaseFailed, "")).run)},
			"trigger(a) leased(a 1) progress(a) fail(a)",
		},
		"a receipt, as it is counted": {
			[]change{listed(a), changed(unbound), changed(a, counts(1, b)), changed(b), {run: b, deleted: true}, changed(a, counts(1, b))},
			"trigger(a) coalesced(a b)",
		},
		"receipts that were counted and rotated out unseen": {
			[]change{listed(a), listed(changed(a, counts(2)).run, b, c)},
			"trigger(a) coalesced(a b) coalesced(a c)",
		},
		"receipts that are gone": {
			[]change{listed(a), listed(changed(a, counts(7, b)).run, c)},
			"trigger(a) coalesced(a c) coalesced(a b) coalesced(a x5)",
		},
		"a receipt of several triggers, as it is bound": {
			[]change{listed(a), changed(shared), changed(a, counts(40, shared)), {run: shared, deleted: true}},
			"trigger(a) coalesced(a s x40)",
		},
		"a receipt of several triggers, as it is counted": {
			[]change{listed(a), changed(unboundShared), changed(a, counts(40, shared)), changed(shared), changed(a, counts(41, shared, b))},
			"trigger(a) coalesced(a s x40) coalesced(a b)",
		},
		"a receipt of several triggers that is gone": {
			[]change{listed(changed(a, counts(42, shared)).run)},
			"trigger(a) coalesced(a s x40) coalesced(a x2)",
		},
		"a receipt of several triggers that is promoted": {
			[]change{listed(), changed(unboundShared, func(run *v1alpha1.JobRun) {
				run.Status.Phase, run.Status.RunRef = v1alpha1.PhasePending, refTo(run)
				counts(39)(run)
			})},
			"trigger(s) coalesced(s x39)",
		},
		"a receipt of a run that is gone": {
			[]change{listed(b)},
			"coalesced(a b)",
		},
		"a receipt that is promoted": {
			[]change{listed(), changed(unbound), changed(unbound, func(run *v1alpha1.JobRun) {
				run.Status.Phase, run.Status.RunRef = v1alpha1.PhasePending, refTo(run)
			})},
			"trigger(b)",
		},
		"a trigger that was delivered before": {
			[]change{listed(a, idempotent), {run: idempotent, deleted: true}},
			"trigger(a)",
		},
		"a receipt's own end": {
			[]change{listed(a), changed(unbound, settle(v1alpha1.ConditionCancelled, "Cancelled", "")), changed(b, settle(v1alpha1.ConditionComplete, "Completed", ""))},
			"trigger(a) coalesced(a b)",
		},
		"leases that expired unseen": {
			[]change{listed(changed(a, held(1)).run), listed(changed(a, expired(3)).run), changed(a, expired(3), held(7))},
			"trigger(a) leased(a 1) leased(a x2) leased(a 7)",
		},
		"leases that expired unseen, and one that is held": {
			[]change{listed(a), listed(changed(a, expired(2), held(5)).run)},
			"trigger(a) leased(a x2) leased(a 5)",
		},
		"the last lease expires": {
			[]change{listed(changed(a, held(1)).run), changed(a, held(1), settle(v1alpha1.ConditionFailed, reasonLeaseExpired, ""), func(run *v1alpha1.JobRun) {
				run.Status.Phase, run.Status.Attempts = v1alpha1.PhaseFailed, 1
			})},
			"trigger(a) leased(a 1) fail(a)",
		},
		"a name that is used again": {
			[]change{listed(a), listed(func() *v1alpha1.JobRun { again := a.DeepCopy(); again.UID = "other"; return again }())},
			"trigger(a) delete(a) trigger(a)",
		},
		"a run that bypassed the webhook": {
			[]change{listed(), changed(a, func(run *v1alpha1.JobRun) { run.Spec.Admission, run.Status = nil, v1alpha1.JobRunStatus{} }), changed(a)},
			"trigger(a)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := newTracker(nil)
			for _, ch := range tc.changes {
				tracker.take(ch)
			}
			mustEqual(t, "events", short(tracker.events), tc.want)
		})
	}
}

func TestSkippedIsWholeIfTheReceiptWasSeen(t *testing.T) {
	a := withUID(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
	b, c := withUID(receiptOf(a, "b")), withUID(receiptOf(a, "c"))
	b.Status = v1alpha1.JobRunStatus{}
	b.Labels = map[string]string{"env": "prod", v1alpha1.LabelKey: "c-x"}
	b.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`"whole"`)}
	tracker := newTracker(nil)
	tracker.take(listed(a, b))
	tracker.take(changed(a, counts(2, b, c)))
	mustEqual(t, "events", short(tracker.events), "trigger(a) coalesced(a b) coalesced(a c)")
	mustEqual(t, "seen", tracker.events[1].Skipped.Input, `"whole"`)
	mustEqual(t, "labels", fmt.Sprint(tracker.events[1].Skipped.Labels), "map[env:prod]")
	mustEqual(t, "not seen", tracker.events[2].Skipped.Input, "cut")
}

func TestLabelsSelect(t *testing.T) {
	a, x := withUID(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending})), withUID(makeRun("x", v1alpha1.JobRunStatus{}))
	a.Labels, x.Labels = map[string]string{"env": "prod"}, map[string]string{"env": "test"}
	b, y := withUID(receiptOf(x, "b")), withUID(receiptOf(x, "y"))
	b.Labels = map[string]string{"env": "prod"}
	tracker := newTracker(labels.SelectorFromSet(labels.Set{"env": "prod"}))
	tracker.take(listed(a, x, b, y))
	tracker.take(changed(a, held(1), func(run *v1alpha1.JobRun) { run.Labels = nil }))
	tracker.take(changed(x, held(1), func(run *v1alpha1.JobRun) { run.Labels = a.Labels }))
	mustEqual(t, "events", short(tracker.events), "trigger(a) coalesced(x b) leased(a 1)")
}

func TestNothingIsRememberedOfWhatIsGone(t *testing.T) {
	a := withUID(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
	b := withUID(receiptOf(a, "b"))
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		tracker := newTracker(nil)
		counted := changed(a, counts(1, b)).run
		tracker.take(listed(counted, b))
		for _, i := range order {
			tracker.take(change{run: []*v1alpha1.JobRun{counted, b}[i], deleted: true})
		}
		mustEqual(t, "records", len(tracker.records), 0)
		mustEqual(t, "told", len(tracker.told), 0)
	}
	tracker := newTracker(nil)
	tracker.take(listed(changed(a, counts(1, b)).run))
	mustEqual(t, "told", len(tracker.told), 1)
	tracker.take(changed(a, counts(2)))
	mustEqual(t, "told of what left recent", len(tracker.told), 0)
}
