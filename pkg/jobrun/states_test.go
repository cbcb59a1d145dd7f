// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestTrackerReturnsEachEventOnce(t *testing.T) {
	a := withUID(makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}))
	tracker := NewTracker()
	mustEqual(t, "listed", short(tracker.Listed([]v1alpha1.JobRun{*a})), "trigger(a)")
	mustEqual(t, "listed again", short(tracker.Listed([]v1alpha1.JobRun{*a})), "")
	mustEqual(t, "changed", short(tracker.Changed(changed(a, held(1)).run)), "leased(a 1)")
	mustEqual(t, "a receipt", short(tracker.Changed(withUID(receiptOf(a, "b")))), "coalesced(a b)")
	mustEqual(t, "deleted", short(tracker.Deleted(a)), "delete(a)")
	late := tracker.Changed(withUID(receiptOf(a, "c")))
	mustEqual(t, "a receipt of a run that is gone", short(late), "coalesced(a c)")
	mustEqual(t, "has its job", late[0].Run.Spec.JobName, "sync")
}
