// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// id returns the identity that package wrappers gives to a run of that name.
func id(name string) runkey.Identity {
	return runkey.Identity{RunName: name, Token: wrappers.TokenOf(name)}
}

func TestIdentityOf(t *testing.T) {
	emptyToken := wrappers.MakeJobRun("a").Created().Token("").Obj()
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want runkey.Identity
	}{
		"an admitted run has the token of its trigger": {
			run:  wrappers.MakeJobRun("a").Created().Obj(),
			want: runkey.Identity{RunName: "a", Token: "token-a"},
		},
		"a receipt has its own token, not that of its run": {
			run:  wrappers.MakeJobRun("b").CoalescedBy("a", "10").Obj(),
			want: runkey.Identity{RunName: "b", Token: "token-b"},
		},
		"a run without admission has its UID": {
			run:  wrappers.MakeJobRun("a").Obj(),
			want: runkey.Identity{RunName: "a", Token: "uid-a"},
		},
		"an admission without a token counts as no admission": {
			run:  emptyToken,
			want: runkey.Identity{RunName: "a", Token: "uid-a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.IdentityOf(tc.run); got != tc.want {
				t.Errorf("IdentityOf() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPlacesOfKey(t *testing.T) {
	full := wrappers.MakeRunKey("k").Pending("a").Leased("b", 2, "5").Row()
	owned := wrappers.MakeIdempotencyKey("i").Owner("c").Row()
	for name, tc := range map[string]struct {
		key                    *v1alpha1.RunKeySpec
		pending, leased, owner runkey.Identity
	}{
		"no key":                          {},
		"an empty key":                    {key: wrappers.MakeRunKey("k").Row()},
		"a concurrency key":               {key: full, pending: id("a"), leased: id("b")},
		"an idempotency key":              {key: owned, owner: id("c")},
		"only the waiting place is taken": {key: wrappers.MakeRunKey("k").Pending("a").Row(), pending: id("a")},
		"only the lease is taken":         {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), leased: id("a")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.Pending(tc.key); got != tc.pending {
				t.Errorf("Pending() = %v, want %v", got, tc.pending)
			}
			if got := runkey.Leased(tc.key); got != tc.leased {
				t.Errorf("Leased() = %v, want %v", got, tc.leased)
			}
			if got := runkey.Owner(tc.key); got != tc.owner {
				t.Errorf("Owner() = %v, want %v", got, tc.owner)
			}
		})
	}
}

func TestStartedAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		from, key string
		want      bool
	}{
		"based on the version that was seen": {"10", "10", true},
		"based on a later version":           {"11", "10", true},
		"based on an earlier version":        {"9", "10", false},
		"100 is later than 99":               {"100", "99", true},
		"99 is earlier than 100":             {"99", "100", false},
		"numbers larger than an int64":       {"100000000000000000000000", "99999999999999999999999", true},
		"no claim":                           {"", "10", false},
		"no version":                         {"10", "", false},
		"no claim and no version":            {"", "", false},
		"a claim that is not a number":       {"x", "10", false},
		"a version that is not a number":     {"10", "x", false},
		"the same text, but not a number":    {"x", "x", false},
		"a negative number":                  {"-1", "-2", false},
		"a plus sign":                        {"+11", "10", false},
		"leading zeros":                      {"011", "10", false},
		"a leading space":                    {" 11", "10", false},
		"hexadecimal":                        {"0x11", "10", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.StartedAfter(tc.from, tc.key); got != tc.want {
				t.Errorf("StartedAfter(%q, %q) = %t, want %t", tc.from, tc.key, got, tc.want)
			}
		})
	}
}

// Two runs contend for a key if they have the same jobName and concurrencyKey. Names and labels do not matter.
func TestHome(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want string
	}{
		"a key":                          {wrappers.MakeJobRun("a").Job("sync-users").Key("org_acme").Obj(), "c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
		"another run of the key":         {wrappers.MakeJobRun("b").Job("sync-users").Key("org_acme").Label(v1alpha1.LabelKey, "c-x").Obj(), "c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
		"no key":                         {wrappers.MakeJobRun("a").Obj(), "run/a"},
		"an idempotency key alone":       {wrappers.MakeJobRun("a").IdempotencyKey("i").Obj(), "run/a"},
		"a run that is named like a key": {wrappers.MakeJobRun("c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4").Obj(), "run/c-4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.Home(tc.run); got != tc.want {
				t.Errorf("Home() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLeases(t *testing.T) {
	key := wrappers.MakeRunKey("k").Pending("b").Leased("a", 2, "5").Row()
	for name, tc := range map[string]struct {
		key        *v1alpha1.RunKeySpec
		run        runkey.Identity
		generation int64
		want       bool
	}{
		"the leased run":          {key, id("a"), 2, true},
		"an earlier generation":   {key, id("a"), 1, false},
		"a later generation":      {key, id("a"), 3, false},
		"another token":           {key, runkey.Identity{RunName: "a", Token: "later"}, 2, false},
		"the waiting run":         {key, id("b"), 2, false},
		"a key without a lease":   {wrappers.MakeRunKey("k").Pending("a").Row(), id("a"), 1, false},
		"no run, without a lease": {wrappers.MakeRunKey("k").Row(), runkey.Identity{}, 0, false},
		"no key":                  {nil, id("a"), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.Leases(tc.key, tc.run, tc.generation); got != tc.want {
				t.Errorf("Leases(%v, %d) = %t, want %t", tc.run, tc.generation, got, tc.want)
			}
		})
	}
}
