// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// tell-obstacle writes only what is known, and only where the status.error is its own.
func TestTellObstacle(t *testing.T) {
	worker := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created() }
	unnamed := made("a").Leased(1, "5").Error("no quota")
	unnamed.Status.JobRef = nil
	text := unclaimed + " for 30s; is a worker for jobName job running?"
	stuck := func(obstacle string) *Execution { return &Execution{Obstacle: &obstacle} }
	impatient := &Execution{UnclaimedFor: 30 * time.Second}
	for name, tc := range map[string]struct {
		key  *wrappers.RunKeyWrapper
		run  *wrappers.JobRunWrapper
		e    *Execution
		want string
	}{
		"a Job that is stuck": {
			leasedKey(), made("a").Leased(1, "5"), stuck("no such image"),
			`tell-obstacle: CheckKey; WriteStatus(a, Leased, "no such image"); Emit(RunBlocked a)`,
		},
		"told":         {leasedKey(), made("a").Leased(1, "5").Error("no such image"), stuck("no such image"), ""},
		"another node": {leasedKey(), made("a").Leased(1, "5").Error("0/5 nodes"), stuck("0/16 nodes"), ""},
		"no longer stuck": {
			leasedKey(), made("a").Leased(1, "5").Error("no such image"), stuck(""), `tell-obstacle: CheckKey; WriteStatus(a, Leased, "")`,
		},
		"not known":             {leasedKey(), made("a").Leased(1, "5").Error("no such image"), &Execution{}, ""},
		"its Job is refused":    {leasedKey(), unnamed, stuck("no such image"), ""},
		"it is cancelled":       {leasedKey(), made("a").Cancel().Leased(1, "5"), stuck("no such image"), ""},
		"its lease is not its":  {wrappers.MakeRunKey("k").Leased("b", 1, "9"), made("a").Leased(1, "5"), stuck("no such image"), ""},
		"no worker":             {wrappers.MakeRunKey("k").Pending("a"), worker().Pending(), impatient, `tell-obstacle: CheckKey; WriteStatus(a, Pending, "` + text + `"); Emit(RunUnclaimed a)`},
		"no worker yet":         {wrappers.MakeRunKey("k").Pending("a"), worker().Pending(), &Execution{}, ""},
		"no worker, told":       {wrappers.MakeRunKey("k").Pending("a"), worker().Pending().Error(text), &Execution{}, ""},
		"a claim was granted":   {leasedKey(), worker().Pending(), impatient, ""},
		"a worker's own error":  {leasedKey(), worker().Leased(1, "5").Holder("w").Error("half done"), &Execution{}, ""},
		"a worker claimed it":   {leasedKey(), worker().Leased(1, "5").Holder("w").Error(text), &Execution{}, `tell-obstacle: CheckKey; WriteStatus(a, Leased, "")`},
		"not Pending yet":       {wrappers.MakeRunKey("k").Pending("a"), worker(), impatient, ""},
		"another run executes":  {wrappers.MakeRunKey("k").Pending("a").Leased("b", 1, "5"), worker().Pending(), impatient, ""},
		"it leaves its waiting": {wrappers.MakeRunKey("k").Pending("a"), worker().Pending().Cancel(), impatient, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(Observation{
				Now: now, Keyed: true, Key: tc.key.Obj(), Runs: []*v1alpha1.JobRun{tc.run.Obj()},
				Executions: map[types.UID]*Execution{"uid-a": tc.e},
			})
			got := ""
			if ops := tellObstacle(s); len(ops) > 0 {
				got = Plan{Step: "tell-obstacle", Ops: ops}.String()
			}
			if got != tc.want {
				t.Errorf("plan\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func leasedKey() *wrappers.RunKeyWrapper { return wrappers.MakeRunKey("k").Leased("a", 1, "5") }

// A text that may have no room in status.error is cut, and the cut text is not written again.
func TestTellLongObstacle(t *testing.T) {
	long := strings.Repeat("no such image ", 300)
	run := made("a").Leased(1, "5").Obj()
	observation := func() Observation {
		return Observation{
			Now: now, Keyed: true, Key: leasedKey().Obj(), Runs: []*v1alpha1.JobRun{run},
			Executions: map[types.UID]*Execution{"uid-a": {Obstacle: &long}},
		}
	}
	ops := tellObstacle(NewSnapshot(observation()))
	run.Status = ops[1].(WriteStatus).Status
	if n := len(run.Status.Error); n == 0 || n > v1alpha1.MaxErrorBytes {
		t.Errorf("%d bytes", n)
	}
	if again := tellObstacle(NewSnapshot(observation())); len(again) > 0 {
		t.Errorf("written again: %s", Plan{Ops: again})
	}
}
