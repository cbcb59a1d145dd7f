// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestCompareAge(t *testing.T) {
	age := func(name string, seconds int) *v1alpha1.JobRun { return wrappers.MakeJobRun(name).Age(seconds).Obj() }
	for name, tc := range map[string]struct {
		runs []*v1alpha1.JobRun
		want []string
	}{
		"by time":                    {[]*v1alpha1.JobRun{age("a", 2), age("b", 1), age("c", 0)}, []string{"c", "b", "a"}},
		"by name where times tie":    {[]*v1alpha1.JobRun{age("c", 1), age("a", 1), age("b", 1)}, []string{"a", "b", "c"}},
		"time goes before the name":  {[]*v1alpha1.JobRun{age("a", 2), age("c", 1), age("b", 1)}, []string{"b", "c", "a"}},
		"names are compared as text": {[]*v1alpha1.JobRun{age("a-9", 1), age("a-10", 1)}, []string{"a-10", "a-9"}},
	} {
		t.Run(name, func(t *testing.T) {
			slices.SortFunc(tc.runs, v1alpha1.CompareAge)
			var got []string
			for i, run := range tc.runs {
				got = append(got, run.Name)
				for _, later := range tc.runs[i+1:] {
					if v1alpha1.CompareAge(run, later) >= 0 || v1alpha1.CompareAge(later, run) <= 0 {
						t.Errorf("%s and %s are not in one order", run.Name, later.Name)
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
	if a := age("a", 1); v1alpha1.CompareAge(a, a) != 0 {
		t.Error("a run is older than itself")
	}
}

func TestHasOutcome(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want bool
	}{
		"not known":                 {wrappers.MakeJobRun("a").Obj(), false},
		"pending":                   {wrappers.MakeJobRun("a").Pending().Obj(), false},
		"leased":                    {wrappers.MakeJobRun("a").Leased(1, "").Obj(), false},
		"completed":                 {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseCompleted).Obj(), true},
		"failed":                    {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseFailed).Obj(), true},
		"cancelled":                 {wrappers.MakeJobRun("a").Ended(v1alpha1.PhaseCancelled).Obj(), true},
		"completed by a bare word":  {wrappers.MakeJobRun("a").Phase(v1alpha1.PhaseCompleted).Obj(), true},
		"a bound receipt":           {wrappers.MakeJobRun("r").CoalescedBy("a", "1").BoundTo("a").Obj(), false},
		"a receipt with an outcome": {wrappers.MakeJobRun("r").CoalescedBy("a", "1").BoundTo("a").Settled().Obj(), true},
		"a repeated delivery":       {wrappers.MakeJobRun("r").DeliveredAs("a").BoundTo("a").Obj(), false},
		"a repeated delivery, over": {wrappers.MakeJobRun("r").DeliveredAs("a").BoundTo("a").Settled().Obj(), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.run.HasOutcome(); got != tc.want {
				t.Errorf("HasOutcome() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestCompareStored(t *testing.T) {
	run := func(name, stored, version string, age int) *v1alpha1.JobRun {
		return wrappers.MakeJobRun(name).Stored(stored).ResourceVersion(version).Age(age).Obj()
	}
	for name, tc := range map[string]struct{ first, second *v1alpha1.JobRun }{
		"by the recorded version, not by age or name": {run("b", "9", "30", 2), run("a", "10", "20", 1)},
		"one is not recorded yet":                     {run("b", "9", "30", 2), run("a", "", "10", 1)},
		"the other is not recorded yet":               {run("b", "", "9", 2), run("a", "10", "20", 1)},
		"by age where a version cannot be compared":   {run("b", "x", "30", 1), run("a", "10", "20", 2)},
	} {
		t.Run(name, func(t *testing.T) {
			if v1alpha1.CompareStored(tc.first, tc.second) >= 0 || v1alpha1.CompareStored(tc.second, tc.first) <= 0 {
				t.Error("not in this order")
			}
		})
	}
}
