// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A run starts only if its definition lets it. Until then it waits, and says why.
func TestDefinitionHoldsBack(t *testing.T) {
	ofJob := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created().DefinedBy(v1alpha1.ExecutorJob) }
	ofWorker := func() *wrappers.JobRunWrapper {
		return makeRun("a").Key("k").Created().DefinedBy(v1alpha1.ExecutorWorker)
	}
	defined := func() *wrappers.JobDefinitionWrapper { return wrappers.MakeJobDefinition().Template("main") }
	const claims = "claim: SwapKey(leased=a g1<10); CreateJob(a-1); WriteStatus(a, Leased, g1<10); Emit(RunTriggered a); Emit(RunLeased a); Count(leased)"
	const gone = "held back: JobDefinition job does not exist"
	tells := func(why string) string {
		return `tell-obstacle: CheckKey; WriteStatus(a, Pending, "held back: JobDefinition job ` + why + `"); Emit(RunBlocked a)`
	}
	for name, tc := range map[string]struct {
		definition *wrappers.JobDefinitionWrapper
		run        *wrappers.JobRunWrapper
		want       string
	}{
		"it may start":                    {defined(), ofJob(), claims},
		"suspended, a new run":            {defined().Suspended(), ofJob(), `announce-pending: CheckKey; WriteStatus(a, Pending); Emit(RunTriggered a)`},
		"suspended":                       {defined().Suspended(), ofJob().Pending(), tells("is suspended")},
		"gone":                            {nil, ofJob().Pending(), tells("does not exist")},
		"gone, told":                      {nil, ofJob().Pending().Error(gone), ""},
		"gone, now suspended":             {defined().Suspended(), ofJob().Pending().Error(gone), tells("is suspended")},
		"back again":                      {defined(), ofJob().Pending().Error(gone), `claim: SwapKey(leased=a g1<10); CreateJob(a-1); WriteStatus(a, Leased, g1<10, ""); Emit(RunLeased a); Count(leased)`},
		"not ready":                       {defined().NotReady("no such time zone"), ofJob().Pending(), tells("is not ready: no such time zone")},
		"now of workers":                  {wrappers.MakeJobDefinition(), ofJob().Pending(), tells("now has the executor Worker, and this run needs Job")},
		"a worker's, suspended":           {wrappers.MakeJobDefinition().Suspended(), ofWorker().Pending(), tells("is suspended")},
		"a worker's, it may start again":  {wrappers.MakeJobDefinition(), ofWorker().Pending().Error(gone), `tell-obstacle: CheckKey; WriteStatus(a, Pending, "")`},
		"a worker's, cancelled meanwhile": {nil, ofWorker().Pending().Cancel(), `release-pending: SwapKey(free); WriteStatus(a, Cancelled, Cancelled=Cancelled, "cancelled on request"); Emit(RunCancelled a)`},
		"triggered before it was defined": {defined().Suspended(), made("a"), claims},
	} {
		t.Run(name, func(t *testing.T) {
			o := Observation{
				Now: now, Keyed: true, Notes: true, Memory: true, Key: wrappers.MakeRunKey("k").Pending("a").Obj(), Runs: []*v1alpha1.JobRun{tc.run.Obj()},
			}
			if tc.definition != nil {
				o.Definition = tc.definition.Obj()
			}
			if got := Decide(NewSnapshot(o)).String(); got != tc.want {
				t.Errorf("plan: %s\nwant: %s", got, tc.want)
			}
		})
	}
}

// A run whose definition is suspended does not get its key in the swap that ends the one before.
func TestHandOverIsHeldBack(t *testing.T) {
	for name, tc := range map[string]struct {
		definition *wrappers.JobDefinitionWrapper
		want       bool
	}{
		"it may start": {wrappers.MakeJobDefinition().Template("main"), true},
		"suspended":    {wrappers.MakeJobDefinition().Template("main").Suspended(), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(Observation{
				Now: now, Keyed: true, Notes: true, Memory: true, Key: leasedKey().Pending("b").Obj(), Definition: tc.definition.Obj(),
				Runs: []*v1alpha1.JobRun{made("a").Leased(1, "5").Obj(), makeRun("b").Key("k").Created().DefinedBy(v1alpha1.ExecutorJob).Pending().Obj()},
			})
			if got := s.handOver(SwapKey{Next: wrappers.MakeRunKey("k").Pending("b").Obj().Spec.DeepCopy()}); (got != nil) != tc.want {
				t.Errorf("hand over: %v, want one: %t", got, tc.want)
			}
		})
	}
}
