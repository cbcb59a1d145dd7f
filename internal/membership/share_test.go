// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"fmt"
	"slices"
	"testing"
)

var three = []string{"jobrun-member-a", "jobrun-member-b", "jobrun-member-c"}

// keys returns homes whose names are alike, which is the hardest for a hash.
func keys(n int) []Home {
	homes := make([]Home, n)
	for i := range homes {
		homes[i] = Home{"default", fmt.Sprintf("run/sync-%d", i)}
	}
	return homes
}

func owned(members []string, homes []Home) map[string]int {
	counts := map[string]int{}
	for _, home := range homes {
		counts[Owner(members, home)]++
	}
	return counts
}

func TestHomesAreSharedOutEvenly(t *testing.T) {
	for member, n := range owned(three, keys(1000)) {
		if n < 700/3 || n > 1300/3 {
			t.Errorf("%s owns %d of 1,000 homes", member, n)
		}
	}
}

func TestOnlyTheHomesOfALeaverMove(t *testing.T) {
	for i, leaver := range three {
		rest := slices.Delete(slices.Clone(three), i, i+1)
		for _, home := range keys(1000) {
			before, after := Owner(three, home), Owner(rest, home)
			if before != leaver && after != before {
				t.Fatalf("%v moves from %s to %s when %s leaves", home, before, after, leaver)
			}
		}
		for member, n := range owned(rest, keys(1000)) {
			if n < 350 || n > 650 {
				t.Errorf("%s owns %d of 1,000 homes after %s left", member, n, leaver)
			}
		}
	}
}

// Replicas of different versions work side by side during an upgrade, so they must agree. Do not change these owners.
func TestAllVersionsComputeTheSameOwner(t *testing.T) {
	got := ""
	for _, home := range keys(16) {
		m := Owner(three, home)
		got += m[len(m)-1:]
	}
	if want := "bacbbaccbbaabaaa"; got != want {
		t.Errorf("owners: %s, want %s", got, want)
	}
	if hash("a", "bc") == hash("ab", "c") {
		t.Error("a/bc and ab/c have one hash")
	}
}

func TestShare(t *testing.T) {
	home := keys(1)[0]
	other := func(s share) share { return share{s.self, []string{"x", "y"}} }
	for name, tc := range map[string]struct {
		before, after share
		gains         bool
	}{
		"it joins":           {share{"b", nil}, share{"b", []string{"a", "b"}}, true},
		"it leaves":          {share{"b", []string{"a", "b"}}, share{"b", nil}, false},
		"another one joins":  {share{"b", []string{"a", "b"}}, share{"b", []string{"a", "b", "c"}}, false},
		"another one leaves": {share{"b", []string{"a", "b"}}, share{"b", []string{"b"}}, true},
		"one for another":    {share{"b", []string{"a", "b"}}, share{"b", []string{"b", "c"}}, true},
		"nothing changes":    {share{"b", []string{"a", "b"}}, share{"b", []string{"a", "b"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.after.gainsFrom(tc.before); got != tc.gains {
				t.Errorf("gains: %v", got)
			}
			if s := other(tc.after); s.in() || s.owns(home) {
				t.Error("a process that is no member owns a home")
			}
		})
	}
	if !(share{"b", []string{"b"}}).owns(home) {
		t.Error("the only member does not own a home")
	}
}
