// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// transition applies a transition to a key; ok is false if it does not apply.
type transition struct {
	key *v1alpha1.RunKeySpec
	ok  bool
}

// check compares the result. It also requires that the key is unchanged, because keys belong to a cache.
func (want transition) check(t *testing.T, key *v1alpha1.RunKeySpec, apply func() (*v1alpha1.RunKeySpec, bool)) {
	t.Helper()
	before := key.DeepCopy()
	next, ok := apply()
	if ok != want.ok {
		t.Errorf("ok = %t, want %t", ok, want.ok)
	}
	if diff := cmp.Diff(want.key, next); diff != "" {
		t.Errorf("next key (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, key); diff != "" {
		t.Errorf("the transition changed the key it came from:\n%s", diff)
	}
}

func TestClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		last int64
		want transition
	}{
		"no key":                    {},
		"no run waits":              {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row()},
		"a run executes":            {key: wrappers.MakeRunKey("k").Pending("b").Leased("a", 1, "5").Row()},
		"the run executes":          {key: wrappers.MakeRunKey("k").Pending("a").Leased("a", 1, "5").Row()},
		"no run waits or is leased": {key: wrappers.MakeRunKey("k").Row()},
		"first lease": {
			key:  wrappers.MakeRunKey("k").Pending("a").Row(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Row(), true},
		},
		"after an expired lease": {
			key:  wrappers.MakeRunKey("k").Pending("a").LastGeneration(4).Row(),
			last: 4,
			want: transition{wrappers.MakeRunKey("k").Leased("a", 5, "10").Row(), true},
		},
		"the cache of statuses lags": {
			key:  wrappers.MakeRunKey("k").Pending("a").LastGeneration(4).Row(),
			last: 2,
			want: transition{wrappers.MakeRunKey("k").Leased("a", 5, "10").Row(), true},
		},
		"the key was deleted and forgot": {
			key:  wrappers.MakeRunKey("k").Pending("a").Row(),
			last: 7,
			want: transition{wrappers.MakeRunKey("k").Leased("a", 8, "10").Row(), true},
		},
		"the idempotency key and the time go": {
			key:  wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Row(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Row(), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Claim(tc.key, "10", tc.last) })
		})
	}
}

func TestRelease(t *testing.T) {
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  runkey.Identity
		want transition
	}{
		"no key":             {run: id("a")},
		"no run executes":    {key: wrappers.MakeRunKey("k").Pending("a").Row(), run: id("a")},
		"no run, for no run": {key: wrappers.MakeRunKey("k").Pending("a").Row()},
		"another executes":   {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: id("b")},
		"a run of the same name executes": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: runkey.Identity{RunName: "a", Token: "later"},
		},
		"a run of the same token and another name executes": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: runkey.Identity{RunName: "b", Token: "token-a"},
		},
		"the last one leaves": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: id("a"),
			want: transition{nil, true},
		},
		"another waits": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(), run: id("a"),
			want: transition{wrappers.MakeRunKey("k").Pending("b").Row(), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Release(tc.key, tc.run) })
		})
	}
}

func TestWithdraw(t *testing.T) {
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  runkey.Identity
		want transition
	}{
		"no key":                    {run: id("a")},
		"no run waits":              {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: id("a")},
		"no run waits, no run asks": {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row()},
		"another waits":             {key: wrappers.MakeRunKey("k").Pending("b").Row(), run: id("a")},
		"a run of the same name waits": {
			key: wrappers.MakeRunKey("k").PendingAs("a", "later").Row(), run: id("a"),
		},
		"the last one leaves": {
			key: wrappers.MakeRunKey("k").Pending("a").Row(), run: id("a"),
			want: transition{nil, true},
		},
		"another executes": {
			key: wrappers.MakeRunKey("k").Leased("b", 1, "5").Pending("a").Row(), run: id("a"),
			want: transition{wrappers.MakeRunKey("k").Leased("b", 1, "5").Row(), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Withdraw(tc.key, tc.run) })
		})
	}
}

func TestRequeue(t *testing.T) {
	run := wrappers.MakeJobRun("a").Key("k").IdempotencyKey("i").Created().Leased(1, "5").Fenced().Obj()
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  *v1alpha1.JobRun
		want transition
	}{
		"no key":           {run: run},
		"no run executes":  {key: wrappers.MakeRunKey("k").Pending("a").Row(), run: run},
		"another executes": {key: wrappers.MakeRunKey("k").Leased("b", 1, "5").Row(), run: run},
		"a run of the same name executes": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(),
			run: wrappers.MakeJobRun("a").Key("k").Created().Token("later").Obj(),
		},
		"another waits": {key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(), run: run},
		"back to wait, with the generation that fences": {
			key:  wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(),
			run:  run,
			want: transition{wrappers.MakeRunKey("k").Pending("a").LastGeneration(2).IdempotencyKey("i").Row(), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) {
				return runkey.Requeue(tc.key, tc.run, 2, wrappers.Epoch)
			})
		})
	}
}

func TestSeat(t *testing.T) {
	now := metav1.NewTime(wrappers.Epoch.Time)
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  *v1alpha1.JobRun
		want *v1alpha1.RunKeySpec
	}{
		"a free key": {
			run:  wrappers.MakeJobRun("a").Key("k").Created().Obj(),
			want: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"a run that waits leaves": {
			key:  wrappers.MakeRunKey("k").Pending("b").LastGeneration(9).IdempotencyKey("theirs").Leased("c", 3, "7").Row(),
			run:  wrappers.MakeJobRun("a").Key("k").IdempotencyKey("i").Created().Obj(),
			want: wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Leased("c", 3, "7").Row(),
		},
		"the run remembers its generation": {
			run:  wrappers.MakeJobRun("a").Key("k").Created().Leased(4, "5").Obj(),
			want: wrappers.MakeRunKey("k").Pending("a").LastGeneration(4).Row(),
		},
		"a run without admission is known by its UID": {
			run:  wrappers.MakeJobRun("a").Key("k").Obj(),
			want: wrappers.MakeRunKey("k").PendingAs("a", "uid-a").Row(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			transition{tc.want, true}.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) {
				return runkey.Seat(tc.key, tc.run, now), true
			})
		})
	}
}

func TestRestore(t *testing.T) {
	run := wrappers.MakeJobRun("a").Key("k").Created().Leased(3, "5").Obj()
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		want transition
	}{
		"the key was deleted": {
			want: transition{wrappers.MakeRunKey("k").Leased("a", 3, "5").Row(), true},
		},
		"another waits": {
			key:  wrappers.MakeRunKey("k").Pending("b").Row(),
			want: transition{wrappers.MakeRunKey("k").Pending("b").Leased("a", 3, "5").Row(), true},
		},
		"the run waits as if it had not started": {
			key:  wrappers.MakeRunKey("k").Pending("a").Row(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 3, "5").Row(), true},
		},
		"a run of the same name waits": {
			key:  wrappers.MakeRunKey("k").PendingAs("a", "later").Row(),
			want: transition{wrappers.MakeRunKey("k").PendingAs("a", "later").Leased("a", 3, "5").Row(), true},
		},
		"another executes": {key: wrappers.MakeRunKey("k").Leased("b", 1, "5").Row()},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Restore(tc.key, run) })
		})
	}
}

func TestGrant(t *testing.T) {
	waiting := wrappers.MakeJobRun("a").Key("k").Created().Pending
	for name, tc := range map[string]struct {
		key  *v1alpha1.RunKeySpec
		run  *wrappers.JobRunWrapper
		want transition
	}{
		"no key":                          {run: waiting()},
		"another run waits":               {key: wrappers.MakeRunKey("k").Pending("b").Row(), run: waiting()},
		"another run of its name waits":   {key: wrappers.MakeRunKey("k").PendingAs("a", "earlier").Row(), run: waiting()},
		"it waits, and another executes":  {key: wrappers.MakeRunKey("k").Pending("a").Leased("b", 1, "5").Row(), run: waiting()},
		"another executes, and one waits": {key: wrappers.MakeRunKey("k").Pending("c").Leased("b", 1, "5").Row(), run: waiting()},
		"it waits": {
			key: wrappers.MakeRunKey("k").Pending("a").LastGeneration(2).Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 3, "10").Row(), true},
		},
		"a claim was granted and not stored": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Row(), true},
		},
		"a claim was granted and not stored, and another run waits since": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(), run: waiting(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 1, "10").Pending("b").Row(), true},
		},
		"a claim was granted and is being taken back": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Row(), run: wrappers.MakeJobRun("a").Key("k").Created().Leased(1, "5").Pending(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 2, "10").Row(), true},
		},
		"it was given back, and another run waits": {
			key: wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(), run: wrappers.MakeJobRun("a").Key("k").Created().Leased(2, "5").Pending(),
		},
		"a claim was granted, was about to be taken back, and another run waits since": {
			key:  wrappers.MakeRunKey("k").Leased("a", 1, "5").Pending("b").Row(),
			run:  wrappers.MakeJobRun("a").Key("k").Created().Leased(1, "5").Pending(),
			want: transition{wrappers.MakeRunKey("k").Leased("a", 2, "10").Pending("b").Row(), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, tc.key, func() (*v1alpha1.RunKeySpec, bool) { return runkey.Grant(tc.key, "10", tc.run.Obj()) })
		})
	}
}
