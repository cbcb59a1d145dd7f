// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// absorbing returns what a run tells when it absorbs receipts, of which it has absorbed some before.
func absorbing(before int, receipts ...*v1alpha1.JobRun) []Event {
	run := made("a").Pending()
	for i := range before {
		run.Counted(fmt.Sprintf("early-%d", i+1))
	}
	var told []Event
	for _, op := range tellCoalesced(run.Obj(), receipts, countedStatus(run.Obj(), receipts, nil)) {
		told = append(told, op.(Emit).Event)
	}
	return told
}

// receipts returns receipts with the names r1, r2, ... and their numbers as input.
func receipts(n int) []*v1alpha1.JobRun {
	all := make([]*v1alpha1.JobRun, n)
	for i := range all {
		all[i] = answered(fmt.Sprintf("r%d", i+1), "a", "4").Input(fmt.Sprint(i + 1)).Obj()
	}
	return all
}

func TestTellCoalesced(t *testing.T) {
	for name, tc := range map[string]struct {
		before, receipts int
		want             []string
	}{
		"the first":             {0, 1, []string{"RunCoalesced a<-r1"}},
		"the last alone":        {4, 1, []string{"RunCoalesced a<-r1"}},
		"the first of a series": {5, 1, []string{"RunCoalesced a<-r1 x1"}},
		"one of a series":       {19, 1, []string{"RunCoalesced a<-r1 x15"}},
		"some alone, some not":  {3, 4, []string{"RunCoalesced a<-r1", "RunCoalesced a<-r2", "RunCoalesced a<-r4 x2"}},
		"a flood":               {6, 20, []string{"RunCoalesced a<-r20 x21"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range absorbing(tc.before, receipts(tc.receipts)...) {
				got = append(got, eventText(e))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeriesNote(t *testing.T) {
	labelled := answered("r", "a", "4").Label("env", "prod").Obj()
	got := absorbing(10, append(receipts(4), labelled)...)[0].Note
	want := `absorbed 15 triggers; what was skipped is in their receipts and in status.coalesced.recent; ` +
		`latest: r input null labels {"env":"prod"}; r4 input 4; r3 input 3; r2 input 2`
	if got != want {
		t.Errorf("note\n%s\nwant\n%s", got, want)
	}
}

// The latest triggers must all be told of, however large the input of one is.
func TestSeriesNoteFits(t *testing.T) {
	var big []*v1alpha1.JobRun
	for i := range toldLast {
		big = append(big, answered(fmt.Sprintf("%d%s", i, strings.Repeat("n", 62)), "a", "4").Input(`"`+strings.Repeat("💥", 1000)+`"`).Obj())
	}
	note := absorbing(10, big...)[0].Note
	if len(note) > maxNoteBytes || !utf8.ValidString(note) {
		t.Errorf("the note has %d bytes: %s", len(note), note)
	}
	for _, r := range big {
		if !strings.Contains(note, r.Name+` input "💥`) {
			t.Errorf("the note does not tell of %s: %s", r.Name, note)
		}
	}
}
