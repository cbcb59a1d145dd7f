// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A batch starts when all its members exist. It is decided only once.
func TestDecideBatch(t *testing.T) {
	leader := func() *wrappers.JobRunWrapper { return made("a").Batch("a") }
	member := made("b").Batch("a").Obj()
	another := made("b").Batch("a").Obj()
	another.Spec.Batch.ID = "another"
	for name, tc := range map[string]struct {
		leader *v1alpha1.JobRun
		others []*v1alpha1.JobRun
		left   time.Duration
		want   string
		after  time.Duration
	}{
		"not whole":                         {leader: leader().Obj(), left: time.Second, after: time.Second},
		"whole":                             {leader: leader().Obj(), others: runs(member), left: time.Second, want: "decide-batch: WriteStatus(a, -, batch Started)"},
		"whole, and time is up":             {leader: leader().Obj(), others: runs(member), want: "decide-batch: WriteStatus(a, -, batch Started)"},
		"time is up":                        {leader: leader().Obj(), want: "decide-batch: WriteStatus(a, -, batch Withdrawn)"},
		"a receipt is a member like others": {leader: leader().Obj(), others: runs(answered("b", "x", "4").Batch("a").Obj()), left: 1, want: "decide-batch: WriteStatus(a, -, batch Started)"},
		"a member of another batch":         {leader: leader().Obj(), others: runs(another), left: 1, after: 1},
		"a member of an earlier batch":      {leader: leader().Obj(), others: runs(made("b").Batch("a").Decided(v1alpha1.BatchStarted).Obj()), left: 1, after: 1},
		"a member is cancelled":             {leader: leader().Obj(), others: runs(made("b").Batch("a").Cancel().Obj()), left: 1, after: 1},
		"a member has ended":                {leader: leader().Obj(), others: runs(made("b").Batch("a").Ended(v1alpha1.PhaseCancelled).Obj()), left: 1, after: 1},
		"the leader is cancelled":           {leader: leader().Cancel().Obj(), others: runs(member)},
		"it was withdrawn":                  {leader: leader().Decided(v1alpha1.BatchWithdrawn).Obj(), others: runs(member)},
		"it has started":                    {leader: leader().Decided(v1alpha1.BatchStarted).Obj()},
		"the leader has ended":              {leader: leader().Ended(v1alpha1.PhaseCancelled).Obj(), others: runs(member)},
	} {
		t.Run(name, func(t *testing.T) {
			plan := DecideBatch(Batch{Leader: tc.leader, Members: append(runs(tc.leader), tc.others...), Left: tc.left})
			if got := plan.String(); got != tc.want || plan.After != tc.after {
				t.Errorf("plan %q after %s, want %q after %s", got, plan.After, tc.want, tc.after)
			}
		})
	}
}

func runs(runs ...*v1alpha1.JobRun) []*v1alpha1.JobRun { return runs }
