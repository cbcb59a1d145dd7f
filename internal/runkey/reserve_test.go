// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// trigger returns a trigger of run b.
func trigger(change func(*runkey.Trigger)) runkey.Trigger {
	t := runkey.Trigger{Run: id("b"), JobName: wrappers.JobName, ConcurrencyKey: "k", Time: wrappers.Epoch}
	if change != nil {
		change(&t)
	}
	return t
}

func coalesces(t *runkey.Trigger) { t.Coalesce = v1alpha1.CoalesceSkip }

func delivery(t *runkey.Trigger) { t.IdempotencyKey = "i" }

func TestReserve(t *testing.T) {
	for name, tc := range map[string]struct {
		key     *v1alpha1.RunKeySpec
		trigger runkey.Trigger
		want    runkey.Answer
	}{
		"a free key": {
			trigger: trigger(nil),
			want:    runkey.Answer{Verdict: runkey.Reserved, Run: id("b"), Next: wrappers.MakeRunKey("k").Pending("b").Row()},
		},
		"a free key is reserved with the idempotency key": {
			trigger: trigger(delivery),
			want: runkey.Answer{Verdict: runkey.Reserved, Run: id("b"),
				Next: wrappers.MakeRunKey("k").Pending("b").IdempotencyKey("i").Row()},
		},
		"a free key does not care for coalesce": {
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Reserved, Run: id("b"), Next: wrappers.MakeRunKey("k").Pending("b").Row()},
		},
		"a run executes and no run waits": {
			key:     wrappers.MakeRunKey("k").Leased("a", 3, "7").Row(),
			trigger: trigger(nil),
			want: runkey.Answer{Verdict: runkey.Reserved, Run: id("b"),
				Next: wrappers.MakeRunKey("k").Leased("a", 3, "7").Pending("b").Row()},
		},
		"the trigger's own reservation, sent twice": {
			key:     wrappers.MakeRunKey("k").Pending("b").Row(),
			trigger: trigger(nil),
			want:    runkey.Answer{Verdict: runkey.Reserved, Run: id("b")},
		},
		"the trigger's own reservation, sent twice, is no delivery before": {
			key:     wrappers.MakeRunKey("k").Pending("b").IdempotencyKey("i").Row(),
			trigger: trigger(delivery),
			want:    runkey.Answer{Verdict: runkey.Reserved, Run: id("b")},
		},
		"a run waits": {
			key:     wrappers.MakeRunKey("k").Pending("a").Row(),
			trigger: trigger(nil),
			want:    runkey.Answer{Verdict: runkey.Refused, Run: id("a")},
		},
		"a run waits behind another": {
			key:     wrappers.MakeRunKey("k").Pending("a").Leased("c", 1, "7").Row(),
			trigger: trigger(nil),
			want:    runkey.Answer{Verdict: runkey.Refused, Run: id("a")},
		},
		"the place is free, and a run waits in line": {
			key:     wrappers.MakeRunKey("k").Leased("c", 1, "7").Line("a").Row(),
			trigger: trigger(nil),
			want:    runkey.Answer{Verdict: runkey.Refused, Run: id("a")},
		},
		"the place is free, a run waits in line and the trigger coalesces": {
			key:     wrappers.MakeRunKey("k").Line("a").Row(),
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Absorbed, Run: id("a")},
		},
		"the first in line has the trigger's name": {
			key:     wrappers.MakeRunKey("k").LineAs("b", "earlier").Row(),
			trigger: trigger(nil),
			want: runkey.Answer{Verdict: runkey.SameName, Run: runkey.Identity{RunName: "b", Token: "earlier"},
				Next: wrappers.MakeRunKey("k").Pending("b").Row()},
		},
		"a run waits, and another one waits in line": {
			key:     wrappers.MakeRunKey("k").Pending("a").Line("c").Row(),
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Absorbed, Run: id("a")},
		},
		"a run waits and the trigger coalesces": {
			key:     wrappers.MakeRunKey("k").Pending("a").Row(),
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Absorbed, Run: id("a")},
		},
		"a run that was leased before waits again": {
			key:     wrappers.MakeRunKey("k").Pending("a").LastGeneration(4).Row(),
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Absorbed, Run: id("a")},
		},
		"the trigger's twin waits": {
			key:     wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Row(),
			trigger: trigger(delivery),
			want:    runkey.Answer{Verdict: runkey.Delivered, Run: id("a")},
		},
		"the trigger's twin waits, and it is delivered before it coalesces": {
			key:     wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Row(),
			trigger: trigger(func(t *runkey.Trigger) { coalesces(t); delivery(t) }),
			want:    runkey.Answer{Verdict: runkey.Delivered, Run: id("a")},
		},
		"a run with another idempotency key waits": {
			key:     wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("other").Row(),
			trigger: trigger(delivery),
			want:    runkey.Answer{Verdict: runkey.Refused, Run: id("a")},
		},
		"no idempotency key is like no other": {
			key:     wrappers.MakeRunKey("k").Pending("a").Row(),
			trigger: trigger(coalesces),
			want:    runkey.Answer{Verdict: runkey.Absorbed, Run: id("a")},
		},
		"the trigger's own name waits under another token": {
			key:     wrappers.MakeRunKey("k").PendingAs("b", "earlier").LastGeneration(2).Row(),
			trigger: trigger(nil),
			want: runkey.Answer{Verdict: runkey.SameName, Run: runkey.Identity{RunName: "b", Token: "earlier"},
				Next: wrappers.MakeRunKey("k").Pending("b").Row()},
		},
		"a receipt never stands for itself, were it to coalesce": {
			key:     wrappers.MakeRunKey("k").PendingAs("b", "earlier").Leased("c", 1, "7").Row(),
			trigger: trigger(coalesces),
			want: runkey.Answer{Verdict: runkey.SameName, Run: runkey.Identity{RunName: "b", Token: "earlier"},
				Next: wrappers.MakeRunKey("k").Pending("b").Leased("c", 1, "7").Row()},
		},
		"a receipt never stands for itself, were it delivered before": {
			key:     wrappers.MakeRunKey("k").PendingAs("b", "earlier").IdempotencyKey("i").Row(),
			trigger: trigger(delivery),
			want: runkey.Answer{Verdict: runkey.SameName, Run: runkey.Identity{RunName: "b", Token: "earlier"},
				Next: wrappers.MakeRunKey("k").Pending("b").IdempotencyKey("i").Row()},
		},
		"an earlier run of the trigger's name executes": {
			key:     wrappers.MakeRunKey("k").Leased("b", 1, "7").Row(),
			trigger: trigger(func(t *runkey.Trigger) { t.Run.Token = "later" }),
			want: runkey.Answer{Verdict: runkey.Reserved, Run: runkey.Identity{RunName: "b", Token: "later"},
				Next: wrappers.MakeRunKey("k").Leased("b", 1, "7").PendingAs("b", "later").Row()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := tc.key.DeepCopy()
			if diff := cmp.Diff(tc.want, runkey.Reserve(tc.key, tc.trigger)); diff != "" {
				t.Errorf("Reserve() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.key); diff != "" {
				t.Errorf("Reserve() changed the key:\n%s", diff)
			}
		})
	}
}

func TestOwn(t *testing.T) {
	delivered := trigger(delivery)
	for name, tc := range map[string]struct {
		key   *v1alpha1.RunKeySpec
		owner runkey.Identity
		want  runkey.Answer
	}{
		"a free key is the trigger's": {
			owner: id("b"),
			want:  runkey.Answer{Verdict: runkey.Reserved, Run: id("b"), Next: wrappers.MakeIdempotencyKey("i").Owner("b").Row()},
		},
		"a free key belongs to the run that absorbed the trigger": {
			owner: id("a"),
			want:  runkey.Answer{Verdict: runkey.Reserved, Run: id("a"), Next: wrappers.MakeIdempotencyKey("i").Owner("a").Row()},
		},
		"the trigger's own, sent twice": {
			key:   wrappers.MakeIdempotencyKey("i").Owner("b").Row(),
			owner: id("b"),
			want:  runkey.Answer{Verdict: runkey.Reserved, Run: id("b")},
		},
		"delivered before": {
			key:   wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
			owner: id("b"),
			want:  runkey.Answer{Verdict: runkey.Delivered, Run: id("a")},
		},
		"delivered before, and absorbed by the same run": {
			key:   wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
			owner: id("a"),
			want:  runkey.Answer{Verdict: runkey.Delivered, Run: id("a")},
		},
		"an earlier trigger of the same name": {
			key:   wrappers.MakeIdempotencyKey("i").OwnerAs("b", "earlier").Row(),
			owner: id("b"),
			want: runkey.Answer{Verdict: runkey.SameName, Run: runkey.Identity{RunName: "b", Token: "earlier"},
				Next: wrappers.MakeIdempotencyKey("i").Owner("b").Row()},
		},
		"an earlier trigger of the same name, and another absorbed this one": {
			key:   wrappers.MakeIdempotencyKey("i").OwnerAs("b", "earlier").Row(),
			owner: id("a"),
			want:  runkey.Answer{Verdict: runkey.Delivered, Run: runkey.Identity{RunName: "b", Token: "earlier"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := tc.key.DeepCopy()
			if diff := cmp.Diff(tc.want, runkey.Own(tc.key, delivered, tc.owner)); diff != "" {
				t.Errorf("Own() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.key); diff != "" {
				t.Errorf("Own() changed the key:\n%s", diff)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	row := wrappers.MakeRunKey("k").Pending("a").Row()
	for name, tc := range map[string]struct {
		kind         v1alpha1.RunKeyKind
		jobName, key string
		want         bool
	}{
		"the same":     {v1alpha1.RunKeyConcurrency, wrappers.JobName, "k", true},
		"another kind": {v1alpha1.RunKeyIdempotency, wrappers.JobName, "k", false},
		"another job":  {v1alpha1.RunKeyConcurrency, "other", "k", false},
		"another key":  {v1alpha1.RunKeyConcurrency, wrappers.JobName, "K", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runkey.Matches(row, tc.kind, tc.jobName, tc.key); got != tc.want {
				t.Errorf("Matches() = %t, want %t", got, tc.want)
			}
		})
	}
}
