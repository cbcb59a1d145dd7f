// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A run counts what it represents in the first write that gives it the phase of a run, and only there.
func TestWithOwnCount(t *testing.T) {
	status := func(phase v1alpha1.Phase, count int64) v1alpha1.JobRunStatus {
		s := v1alpha1.JobRunStatus{Phase: phase}
		if count > 0 {
			s.Coalesced = &v1alpha1.CoalescedTriggers{Count: count}
		}
		return s
	}
	several, one := made("a").Represents(4).Obj(), made("a").Obj()
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		status v1alpha1.JobRunStatus
		want   int64
	}{
		"waits":                    {several, status(v1alpha1.PhasePending, 0), 3},
		"executes":                 {several, status(v1alpha1.PhaseLeased, 0), 3},
		"has ended":                {several, status(v1alpha1.PhaseCancelled, 0), 3},
		"waits in line":            {several, status("", 0), 0},
		"is a receipt":             {several, status(v1alpha1.PhaseCoalesced, 0), 0},
		"has counted it before":    {several, status(v1alpha1.PhaseLeased, 7), 7},
		"represents one, executes": {one, status(v1alpha1.PhaseLeased, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			ops := withOwnCount([]Op{CheckKey{}, WriteStatus{tc.run, tc.status}})
			got := int64(0)
			if c := ops[1].(WriteStatus).Status.Coalesced; c != nil {
				got = c.Count
			}
			if got != tc.want {
				t.Errorf("count %d, want %d", got, tc.want)
			}
		})
	}
}

// A receipt counts as many triggers as it represents, and its entry has the latest of their inputs, as far as they have room.
func TestCountedStatusOfSeveral(t *testing.T) {
	big := `"` + strings.Repeat("x", 800) + `"`
	receipts := []*v1alpha1.JobRun{
		answered("r", "a", "4").Input("1").Represents(5, "2", big, "3", `"`+strings.Repeat("y", 800)+`"`).Obj(), answered("s", "a", "4").Obj(),
	}
	got := countedStatus(made("a").Represents(3).Obj(), receipts, nil).Coalesced
	if got.Count != 2+5+1 {
		t.Errorf("count %d", got.Count)
	}
	entry := got.Recent[0]
	if diff := cmp.Diff([]string{"2", "3", `"` + strings.Repeat("y", 800) + `"`}, entry.MoreInputs); diff != "" || entry.Represents != 5 || entry.Input != "1" {
		t.Errorf("represents %d, input %s, more (-want +got):\n%s", entry.Represents, entry.Input, diff)
	}
	if got.Recent[1].Represents != 0 || got.Recent[1].MoreInputs != nil {
		t.Errorf("the entry of one trigger is %+v", got.Recent[1])
	}
	nine := answered("r", "a", "4").Represents(10, "1", "2", "3", "4", "5", "6", "7", "8", "9").Obj()
	if diff := cmp.Diff([]string{"2", "3", "4", "5", "6", "7", "8", "9"}, moreInputs(nine)); diff != "" {
		t.Errorf("of nine inputs (-want +got):\n%s", diff)
	}
}

// The events of receipts that represent several triggers tell how many. What is beyond the first five triggers is one series.
func TestTellCoalescedOfSeveral(t *testing.T) {
	of := func(name string, count int32) *v1alpha1.JobRun {
		return answered(name, "a", "4").Represents(count).Obj()
	}
	told := absorbing(1, of("r", 2), of("s", 3), answered("t", "a", "4").Obj())
	var got []string
	for _, e := range told {
		got = append(got, eventText(e))
	}
	if diff := cmp.Diff([]string{"RunCoalesced a<-r", "RunCoalesced a<-t x2"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if want := "absorbed trigger r for 2 triggers; "; !strings.HasPrefix(told[0].Note, want) {
		t.Errorf("note %q, want it to begin with %q", told[0].Note, want)
	}
	if want := "absorbed 7 triggers; "; !strings.HasPrefix(told[1].Note, want) || !strings.Contains(told[1].Note, "; s for 3 triggers input null; ") {
		t.Errorf("note %q", told[1].Note)
	}
}
