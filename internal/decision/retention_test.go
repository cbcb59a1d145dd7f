// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestDecideRetention(t *testing.T) {
	finished := func() *wrappers.JobRunWrapper { return made("a").TTL(60).Leased(1, "5").Ended(v1alpha1.PhaseCompleted) }
	unbound := answered("r", "a", "4").Obj()
	open := answered("r", "a", "4").BoundTo("a").Obj()
	settled := func(name string) *v1alpha1.JobRun { return answered(name, "a", "4").BoundTo("a").Settled().Obj() }
	several := func(name string) *v1alpha1.JobRun {
		return answered(name, "a", "4").Represents(2).BoundTo("a").Settled().Obj()
	}
	late := answered("r", "a", "4").TTL(60).BoundTo("a").Settled().Obj()
	late.CreationTimestamp = metav1.NewTime(late.Status.CompletionTime.Add(time.Minute))
	for name, tc := range map[string]struct {
		run            *v1alpha1.JobRun
		unbound, bound []*v1alpha1.JobRun
		held           string
		history        int
		seconds        int
		seen           time.Duration
		want           string
		wantAfter      time.Duration
	}{
		"kept without a ttl":  {run: made("a").Ended(v1alpha1.PhaseCompleted).Obj(), seconds: 1e6},
		"kept while it waits": {run: made("a").TTL(1).Pending().Obj(), seconds: 1e6},
		"kept while it executes, whatever its holder writes":     {run: made("a").TTL(1).Leased(1, "5").Settled().Obj(), seconds: 1e6},
		"kept while it executes":                                 {run: made("a").TTL(1).Leased(1, "5").Obj(), seconds: 1e6},
		"kept until its time":                                    {run: finished().Obj(), seconds: 20, wantAfter: 40 * time.Second},
		"kept for longer than until the next sweep":              {run: finished().TTL(100).Obj(), seconds: 20},
		"its time is over":                                       {run: finished().Obj(), seconds: 60, want: "expire-ttl: DeleteRun(a)"},
		"it ended in the future":                                 {run: finished().Obj(), seconds: -3600, seen: 20 * time.Second, wantAfter: 40 * time.Second},
		"it ended in the future, long ago":                       {run: finished().Obj(), seconds: -3600, seen: 60 * time.Second, want: "expire-ttl: DeleteRun(a)"},
		"a ttl of zero":                                          {run: finished().TTL(0).Obj(), seconds: 0, want: "expire-ttl: DeleteRun(a)"},
		"a receipt without outcome stays":                        {run: answered("r", "a", "4").TTL(1).BoundTo("a").Obj(), seconds: 1e6},
		"a receipt that is not counted":                          {run: answered("r", "a", "4").TTL(1).Obj(), seconds: 1e6},
		"a receipt with an outcome goes":                         {run: answered("r", "a", "4").TTL(1).BoundTo("a").Settled().Obj(), seconds: 60, want: "expire-ttl: DeleteRun(r)"},
		"a receipt that came after the end of its run":           {run: late, seconds: 80, wantAfter: 40 * time.Second},
		"a receipt that came after the end of its run, long ago": {run: late, seconds: 120, want: "expire-ttl: DeleteRun(r)"},
		"a receipt is not counted yet":                           {run: finished().Obj(), unbound: []*v1alpha1.JobRun{unbound}, seconds: 1e6, history: 100},
		"a receipt has no outcome yet":                           {run: finished().Obj(), bound: []*v1alpha1.JobRun{settled("q"), open}, seconds: 1e6, history: 100},
		"all receipts have the outcome": {
			run: finished().Obj(), bound: []*v1alpha1.JobRun{settled("q"), settled("r")}, seconds: 60, history: 100,
			want: "expire-ttl: DeleteRun(a)",
		},
		"history keeps as many as it says": {
			run: finished().Obj(), bound: []*v1alpha1.JobRun{settled("p"), settled("q")}, seconds: 20, history: 2,
			wantAfter: 40 * time.Second,
		},
		"history lets the oldest go": {
			run: made("a").Leased(1, "5").Obj(), bound: []*v1alpha1.JobRun{settled("p"), settled("q"), settled("r")}, history: 1,
			want: "trim-receipts: DeleteRun(p); DeleteRun(q)",
		},
		"no history at all": {
			run: made("a").Leased(1, "5").Obj(), bound: []*v1alpha1.JobRun{settled("p")}, history: 0,
			want: "trim-receipts: DeleteRun(p)",
		},
		"history spares a young receipt that represents several triggers": {
			run: made("a").Leased(1, "5").Obj(), seconds: 100, history: 1, wantAfter: 21 * time.Second,
			bound: []*v1alpha1.JobRun{several("p"), settled("q"), settled("r")}, want: "trim-receipts: DeleteRun(q)",
		},
		"history does not spare it for ever": {
			run: made("a").Leased(1, "5").Obj(), seconds: 121, history: 1,
			bound: []*v1alpha1.JobRun{several("p"), settled("q"), settled("r")}, want: "trim-receipts: DeleteRun(p); DeleteRun(q)",
		},
		"a run that represents several triggers, whose time is over": {
			run: finished().Represents(2).Obj(), seconds: 70, wantAfter: 51 * time.Second,
		},
		"history keeps the leader of a batch that others look to": {
			run: made("a").Leased(1, "5").Obj(), bound: []*v1alpha1.JobRun{settled("p"), settled("q"), settled("r")}, history: 1, held: "p",
			want: "trim-receipts: DeleteRun(q)",
		},
		"history waits for no finalizer": {
			run: finished().Obj(), bound: []*v1alpha1.JobRun{answered("p", "a", "4").BoundTo("a").Settled().Deleting().Obj(), settled("q")},
			history: 0, seconds: 60, want: "expire-ttl: DeleteRun(q); DeleteRun(a)",
		},
		"the leader of a batch that others look to": {run: finished().Obj(), seconds: 1e6, held: "a"},
		"history lets none go that is not counted": {
			run: made("a").Leased(1, "5").Obj(), unbound: []*v1alpha1.JobRun{unbound}, history: 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := DecideRetention(Retention{
				Seen: tc.seen, Sweep: time.Minute,
				Now: wrappers.At(tc.seconds), Run: tc.run, Unbound: tc.unbound, Bound: tc.bound, History: tc.history,
				Held: map[types.UID]bool{wrappers.UIDOf(tc.held): true},
			})
			if got := plan.String(); got != tc.want {
				t.Errorf("plan %q, want %q", got, tc.want)
			}
			if plan.After != tc.wantAfter {
				t.Errorf("look again after %s, want %s", plan.After, tc.wantAfter)
			}
		})
	}
}
