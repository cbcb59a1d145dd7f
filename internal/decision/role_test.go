// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var makeKey = wrappers.MakeRunKey

// keyed returns an Observation of the key "k" with these runs in its home.
func keyed(key *wrappers.RunKeyWrapper, runs ...*wrappers.JobRunWrapper) Observation {
	o := Observation{
		Keyed: true, Now: now, Gone: map[runkey.Identity]bool{}, GoneUIDs: map[types.UID]bool{}, Owners: map[types.UID]runkey.Identity{},
		BatchDecisions: map[types.UID]v1alpha1.BatchDecision{},
	}
	if key != nil {
		o.Key = key.Obj()
	}
	for _, run := range runs {
		o.Runs = append(o.Runs, run.Obj())
	}
	o.Relisted = o.Runs
	return o
}

func id(name string) runkey.Identity {
	return runkey.Identity{RunName: name, Token: wrappers.TokenOf(name)}
}

// Each JobRun has exactly one role.
func TestRoles(t *testing.T) {
	waits := func() *wrappers.RunKeyWrapper { return makeKey("k").Pending("b") }
	executes := func() *wrappers.RunKeyWrapper { return makeKey("k").Leased("b", 1, "20") }
	without := func(o Observation) Observation { o.Keyed = false; return o }
	gone := func(o Observation, names ...string) Observation {
		for _, name := range names {
			o.Gone[id(name)] = true
		}
		return o
	}
	owned := func(o Observation, run types.UID, owner string) Observation {
		o.Owners[run] = id(owner)
		return o
	}
	b := func() *wrappers.JobRunWrapper { return made("b").Age(1) }
	for name, tc := range map[string]struct {
		o    Observation
		want Role
	}{
		"a run that completed":                    {keyed(nil, made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted)), RoleEnded},
		"a run that ended and is leased":          {keyed(makeKey("k").Leased("a", 1, "5"), made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed)), RoleEnded},
		"leased, and it says so":                  {keyed(makeKey("k").Leased("a", 1, "5"), made("a").Leased(1, "5")), RoleExecuting},
		"leased, under an earlier generation":     {keyed(makeKey("k").Leased("a", 3, "5"), made("a").Leased(1, "5")), RoleExecuting},
		"leased, without a key":                   {without(keyed(nil, keyless("a").Leased(1, ""))), RoleExecuting},
		"leased, and it does not say so":          {keyed(makeKey("k").Leased("a", 1, "5"), made("a").Pending()), RoleClaimed},
		"a promoted receipt that is leased":       {keyed(makeKey("k").Leased("a", 1, "5"), answered("a", "gone", "4")), RoleClaimed},
		"expired, and it does not say so":         {keyed(makeKey("k").Pending("a").LastGeneration(2), made("a").Leased(1, "5").Fenced()), RoleRequeued},
		"it reads Leased, the key leases none":    {keyed(waits(), made("a").Leased(1, "5"), b()), RoleUnrecorded},
		"it reads Leased, there is no key":        {keyed(nil, made("a").Leased(1, "5")), RoleUnrecorded},
		"it reads Leased, the key leases another": {keyed(executes(), made("a").Leased(1, "5"), b()), RoleSuperseded},
		"it waits":                                            {keyed(makeKey("k").Pending("a"), made("a")), RoleWaiting},
		"it waits, and says so":                               {keyed(makeKey("k").Pending("a"), made("a").Pending()), RoleWaiting},
		"it waits, without a key":                             {without(keyed(nil, keyless("a"))), RoleWaiting},
		"a promoted receipt that waits":                       {keyed(makeKey("k").Pending("a"), answered("a", "gone", "4")), RoleWaiting},
		"it says that it waits, and another does":             {keyed(waits(), made("a").Pending(), b()), RoleStalePending},
		"it says that it waits, and no run does":              {keyed(nil, made("a").Pending()), RoleStalePending},
		"another run of its name waits":                       {keyed(makeKey("k").PendingAs("a", "earlier"), made("a").Pending()), RoleStalePending},
		"it has no place":                                     {keyed(waits(), made("a"), b()), RoleUnplaced},
		"a receipt that was a run and has no place":           {keyed(waits(), answered("a", "gone", "4").Pending().Phase(""), b()), RoleUnplaced},
		"it owns its idempotency key":                         {owned(keyed(waits(), answered("a", "gone", "4").IdempotencyKey("i"), b()), wrappers.UIDOf("a"), "a"), RoleUnplaced},
		"stored without the webhook":                          {keyed(waits(), makeRun("a").Key("k"), b()), RoleUnanswered},
		"stored without the webhook, counted":                 {keyed(waits(), makeRun("a").Key("k"), b().Counted("a")), RoleUnadmitted},
		"stored without the webhook, with an idempotency key": {keyed(waits(), makeRun("a").Key("k").IdempotencyKey("i"), b()), RoleUnadmitted},
		"it lost its place":                                   {keyed(waits(), made("a").Skip().Pending(), b().Requeue().Pending().Counted("a")), RoleDisplaced},
		"counted, but never told that it waits":               {keyed(waits(), answered("a", "b", "10"), b().Requeue().Pending().Counted("a")), RoleAbsorbed},
		"a run stands for it":                                 {keyed(waits(), answered("a", "b", "10"), b().Pending()), RoleAbsorbed},
		"its run started after it":                            {keyed(executes(), answered("a", "b", "20"), b().Leased(1, "20")), RoleAbsorbed},
		"its run started before, and no run waits":            {keyed(executes(), answered("a", "b", "21"), b().Leased(1, "20")), RoleOrphaned},
		"its run started before, another waits":               {keyed(makeKey("k").Leased("b", 1, "20").Pending("c"), answered("a", "b", "21"), b().Leased(1, "20"), made("c")), RoleAbsorbed},
		"its run never came":                                  {gone(keyed(nil, answered("a", "x", "10")), "x"), RoleOrphaned},
		"its run may yet come":                                {keyed(makeKey("k").Pending("x"), answered("a", "x", "10")), RoleUndecided},
		"its run never came, it was delivered again":          {owned(gone(keyed(nil, answered("a", "x", "10").IdempotencyKey("i")), "x"), wrappers.UIDOf("a"), "x"), RoleKeptBack},
		"its batch is undecided":                              {keyed(waits(), answered("a", "b", "10").Batch("l"), b().Pending()), RoleUndecided},
		"delivered before":                                    {keyed(waits(), delivered("a", "b").Key("k"), b().Pending()), RoleRedelivered},
		"delivered before, its run never came":                {gone(keyed(nil, delivered("a", "x").Key("k")), "x"), RoleKeptBack},
		"delivered before, its run may yet come":              {keyed(nil, delivered("a", "x").Key("k")), RoleUndecided},
		"bound":                                               {keyed(waits(), answered("a", "b", "10").BoundTo("b"), b().Pending()), RoleBound},
		"bound to a run that is not there":                    {keyed(waits(), answered("a", "x", "10").BoundTo("x"), b().Pending()), RoleBound},
		"bound to a receipt":                                  {keyed(waits(), answered("a", "b", "10").BoundTo("b"), answered("b", "c", "10").BoundTo("c")), RoleMisbound},
		"it has the outcome of its run":                       {keyed(nil, answered("a", "b", "10").BoundTo("b").Settled()), RoleSettled},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(tc.o)
			if got := s.role(s.Runs[0]); got != tc.want {
				t.Errorf("role %d, want %d", got, tc.want)
			}
		})
	}
}

// P1: a receipt never stands for another receipt. A promoted receipt is a run, so it stands for others.
func TestStartsAfter(t *testing.T) {
	r := answered("r", "x", "10")
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		want bool
	}{
		"a run that waits":          {made("x").Pending(), true},
		"a receipt that is bound":   {answered("x", "a", "4").BoundTo("a"), false},
		"a delivery that is bound":  {delivered("x", "a").Key("k").BoundTo("a"), false},
		"the receipt itself":        {answered("x", "x", "4").UID(r.Obj().UID), false},
		"a receipt that has a seat": {answered("x", "gone", "4"), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(keyed(makeKey("k").Pending("x"), tc.run))
			if got := s.startsAfter(tc.run.Obj(), r.Obj()); got != tc.want {
				t.Errorf("stands for a receipt: %t, want %t", got, tc.want)
			}
		})
	}
}

// P8: a receipt is marked once it is bound to any run, promoted, or gone.
func TestMarkedEntries(t *testing.T) {
	s := NewSnapshot(keyed(makeKey("k").Pending("b"), made("b").Pending().Counted("here", "bound", "elsewhere", "promoted", "gone"),
		answered("here", "b", "10"), answered("bound", "b", "10").BoundTo("b"),
		answered("elsewhere", "b", "10").BoundTo("x"), answered("promoted", "b", "10").Pending()))
	for name, want := range map[string]bool{"here": false, "bound": true, "elsewhere": true, "promoted": true, "gone": true} {
		if got := s.marked[wrappers.UIDOf(name)]; got != want {
			t.Errorf("%s is marked: %t, want %t", name, got, want)
		}
	}
}

// P12: a run is found by its name and token.
func TestRunByIdentity(t *testing.T) {
	o := keyed(nil, answered("r", "a", "4"))
	o.Others = append(o.Others, made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj())
	s := NewSnapshot(o)
	if s.Run(id("a")) == nil {
		t.Error("not found")
	}
	if s.Run(runkey.Identity{RunName: "a", Token: "other"}) != nil {
		t.Error("another run of that name was found")
	}
}

func TestNextToWait(t *testing.T) {
	name := func(run *v1alpha1.JobRun) string {
		if run == nil {
			return ""
		}
		return run.Name
	}
	for title, tc := range map[string]struct {
		o    Observation
		want string
	}{
		"one that reads Pending goes before an older one": {keyed(nil, made("c").Age(1), made("b").Age(2).Pending()), "b"},
		"a run goes before a receipt without a run": {
			func() Observation {
				o := keyed(nil, answered("r", "x", "10"), made("b").Age(2))
				o.Gone[id("x")] = true
				return o
			}(), "b",
		},
		"none that the key names": {keyed(makeKey("k").Pending("a").Leased("b", 1, "5"), made("a"), made("b").Leased(1, "5")), ""},
		"none that is cancelled":  {keyed(nil, made("a").Cancel()), ""},
	} {
		t.Run(title, func(t *testing.T) {
			if got := name(NewSnapshot(tc.o).nextToWait()); got != tc.want {
				t.Errorf("next is %q, want %q", got, tc.want)
			}
		})
	}
}

// A claimed member has started, even if its leader records another decision later.
func TestBatchOfAClaimedMember(t *testing.T) {
	member := made("a").Batch("l")
	for name, o := range map[string]Observation{
		"it is leased": keyed(makeKey("k").Leased("a", 1, "5"), member),
		"its Job is there": func() Observation {
			o := keyed(makeKey("k").Pending("a"), member)
			o.Jobs = []*batchv1.Job{makeJob(member.Obj(), 1).Obj()}
			return o
		}(),
		"it is counted": keyed(makeKey("k").Pending("b"), member, made("b").Counted("a")),
	} {
		t.Run(name, func(t *testing.T) {
			o.BatchDecisions[member.Obj().UID] = v1alpha1.BatchWithdrawn
			if !NewSnapshot(o).hasStarted(member.Obj()) {
				t.Error("it may be withdrawn")
			}
		})
	}
}
