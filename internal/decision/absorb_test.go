// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestFoldedStatus(t *testing.T) {
	names := func(prefix string, n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("%s%02d", prefix, i)
		}
		return all
	}
	for name, tc := range map[string]struct {
		recent, unmarked, counted []string
		count                     int64
		want                      []string
	}{
		"the first":           {counted: []string{"r"}, count: 1, want: []string{"r"}},
		"room for all":        {recent: names("a", 30), counted: names("b", 2), count: 32, want: append(names("a", 30), names("b", 2)...)},
		"the oldest go":       {recent: names("a", 32), counted: names("b", 2), count: 34, want: append(names("a", 32)[2:], names("b", 2)...)},
		"unmarked ones stay":  {recent: names("a", 32), unmarked: []string{"a00", "a02"}, counted: names("b", 2), count: 34, want: append(append([]string{"a00", "a02"}, names("a", 32)[4:]...), names("b", 2)...)},
		"all of them go":      {recent: names("a", 32), counted: names("b", 32), count: 64, want: names("b", 32)},
		"no more than needed": {recent: names("a", 31), counted: names("b", 2), count: 33, want: append(names("a", 31)[1:], names("b", 2)...)},
	} {
		t.Run(name, func(t *testing.T) {
			run := made("run").Counted(tc.recent...).Obj()
			before := run.DeepCopy()
			marked := map[string]bool{}
			for _, name := range tc.recent {
				marked[name] = true
			}
			for _, name := range tc.unmarked {
				marked[name] = false
			}
			var receipts []*v1alpha1.JobRun
			for _, name := range tc.counted {
				receipts = append(receipts, answered(name, "run", "10").Obj())
			}
			status := countedStatus(run, receipts, uids(marked))
			var got []string
			for _, entry := range status.Coalesced.Recent {
				got = append(got, entry.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("recent (-want +got):\n%s", diff)
			}
			if status.Coalesced.Count != tc.count {
				t.Errorf("count = %d, want %d", status.Coalesced.Count, tc.count)
			}
			if diff := cmp.Diff(before, run); diff != "" {
				t.Errorf("the run changed:\n%s", diff)
			}
		})
	}
}
