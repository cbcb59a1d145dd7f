// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlanIsThatOfItsSeed(t *testing.T) {
	all := strings.Fields(FaultNames())
	one := Plan(7, 5*time.Minute, all)
	if !slices.Equal(one, Plan(7, 5*time.Minute, all)) {
		t.Error("one seed gives two plans")
	}
	if slices.Equal(one, Plan(8, 5*time.Minute, all)) {
		t.Error("two seeds give the same plan")
	}
}

// TestPlanHasEverything shows that each plan has each of its faults and all stories, whatever its seed and however short it
// is.
func TestPlanHasEverything(t *testing.T) {
	all := strings.Fields(FaultNames())
	for _, tc := range []struct {
		duration time.Duration
		faults   []string
	}{
		{10 * time.Second, nil},
		{shortDuration / 3, inTime},
		{shortDuration, all},
		{2 * time.Minute, all},
		{2 * time.Minute, []string{"late-jobs"}},
	} {
		for seed := range uint64(2000) {
			names := planned(tc.faults)
			plan := Plan(seed, tc.duration, names)
			for _, name := range append(names, "meet", "share", "expire-alone", "expire-behind", "expire-into") {
				if !slices.ContainsFunc(plan, func(i Injection) bool { return i.Fault == name && i.At < tc.duration }) {
					t.Fatalf("the plan of %s with seed %d does not have %s", tc.duration, seed, name)
				}
			}
		}
	}
}

// TestUntested shows that a report names what the scenario did not test.
func TestUntested(t *testing.T) {
	tested := func() *Report {
		r := &Report{Promises: newPromises(), Numbers: map[string]int{"handed over": 1}, Faults: []string{"kill-manager"}, Effects: map[string]int{}}
		for _, p := range r.Promises {
			p.Checked = 1
		}
		for _, name := range planned(r.Faults) {
			r.Effects[name] = 1
		}
		return r
	}
	for want, forget := range map[string]func(*Report){
		"":             func(*Report) {},
		"I5":           func(r *Report) { r.promise("I5").Checked = 0 },
		"kill-manager": func(r *Report) { r.Effects["kill-manager"] = 0 },
		"expire-into":  func(r *Report) { delete(r.Effects, "expire-into") },
		"handed over":  func(r *Report) { r.Numbers["handed over"] = 0 },
		"linearizable": func(r *Report) { r.promise(linearizable).Checked = 0 },
	} {
		r := tested()
		forget(r)
		if got := strings.Join(r.Untested(), ", "); got != want {
			t.Errorf("untested: %q, want %q", got, want)
		}
	}
}

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]int{"none": 0, "all": len(faults), "kill-etcd,slow-api": 2} {
		if got, err := ParseFaults(text); err != nil || len(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"kill-everything", "expire-into"} {
		if _, err := ParseFaults(text); err == nil {
			t.Errorf("%s is accepted as a fault", text)
		}
	}
}
