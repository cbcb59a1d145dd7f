// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// keyScript parses a history of one key. Each line is one operation with these fields: the time of its call, the time
// of its return, its kind, its run and its holder. A change may have a sixth field: the first run in line after it. A run is a
// name and a token, as in a/1. "-" means none.
func keyScript(t *testing.T, text string) []Operation {
	t.Helper()
	var operations []Operation
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == "" {
			continue
		}
		o := Operation{Key: "k", Outcome: OK}
		if n, err := fmt.Sscan(l, &o.Call, &o.Return, &o.Kind, &o.Run, &o.Holder, &o.Line); n < 5 {
			t.Fatalf("%q: %v", l, err)
		}
		o.Run, o.Holder = strings.Trim(o.Run, "-"), strings.Trim(o.Holder, "-")
		operations = append(operations, o)
	}
	return operations
}

func TestRegisterAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": ``,
		"a run starts, another one waits and absorbs a third": `
			1 3 Reserve a/1 -
			4 4 Start a/1 -
			5 7 Reserve b/2 -
			8 9 Absorb - b/2
			10 10 Finish a/1 -
			11 11 Start b/2 -
			12 12 Finish b/2 -`,
		"one of two simultaneous reservations waits for the start of the other": `
			1 9 Reserve a/1 -
			1 9 Reserve b/2 -
			5 5 Start b/2 -`,
		"a trigger is absorbed before the run starts, but answered after that": `
			1 2 Reserve a/1 -
			3 9 Absorb - a/1
			5 5 Start a/1 -`,
		"a reservation is taken over by a trigger of the same name": `
			1 2 Reserve a/1 -
			3 4 Reserve a/2 -`,
		"a refusal names the waiting run without its token": `
			1 2 Reserve a/1 -
			3 4 Refuse - a`,
		"a lease expires": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 4 Requeue a/1 -
			5 6 Absorb - a/1`,
		"a lease expires and its run takes the place of the waiting run": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 5 Reserve b/2 -
			6 6 Displace a/1 b/2
			7 8 Absorb - a/1`,
		"a key is deleted, and its lease restored after another trigger": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 4 Vanish - -
			5 6 Reserve b/2 -
			7 7 Restore a/1 -`,
		"triggers see the first in line while the place is free": `
			1 2 Reserve a/1 -
			3 3 Mark - - b/2
			4 5 Absorb - a/1
			6 6 Start a/1 - b/2
			7 8 Absorb - b/2
			9 10 Refuse - b
			11 11 Seat b/2 - -`,
		"a claim seats the first in line": `
			1 2 Reserve a/1 -
			3 3 Mark - - b/2
			4 4 Start a/1 b/2 c/3
			5 6 Absorb - b/2
			7 7 Finish a/1 - c/3
			8 8 Start b/2 c/3 -
			9 10 Absorb - c/3`,
		"a trigger takes over the place in line under its own name": `
			1 1 Mark - - a/1
			2 3 Reserve a/2 -
			4 4 Start a/2 -
			5 6 Foresee - -`,
		"a receipt gets the place of a run that is gone": `
			1 2 Reserve a/1 -
			3 3 Replace r/3 a/1
			4 4 Leave r/3 -
			5 6 Foresee - -`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := Check(Register(), keyScript(t, text), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRegisterRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"two runs wait": `
			1 2 Reserve a/1 -
			3 4 Reserve b/2 -`,
		"two runs wait, though each was answered late": `
			1 9 Reserve a/1 -
			1 9 Reserve b/2 -
			10 11 Absorb - a/1`,
		"two runs execute": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 5 Reserve b/2 -
			6 6 Start b/2 -`,
		"a trigger is absorbed by a run that started before": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 5 Absorb - a/1`,
		"a trigger is absorbed by a run with the name of the waiting run": `
			1 2 Reserve a/1 -
			3 4 Absorb - a/2`,
		"a trigger is refused, but no run waits": `
			1 2 Refuse - a`,
		"a trigger overtakes the line": `
			1 1 Mark - - a/1
			2 3 Reserve b/2 -`,
		"a dry run foresees a free place, but a run waits in line": `
			1 1 Mark - - a/1
			2 3 Foresee - -`,
		"a trigger is absorbed by the first in line, but another run waits": `
			1 2 Reserve a/1 -
			3 3 Mark - - b/2
			4 5 Absorb - b/2`,
		"a dry run foresees a free place, but a run waits": `
			1 2 Reserve a/1 -
			3 4 Foresee - -`,
		"a run starts, but it does not wait": `
			1 1 Start a/1 -`,
		"a run is seated in an occupied place": `
			1 2 Reserve a/1 -
			3 3 Seat b/2 -`,
		"a run waits again while another one waits": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 5 Reserve b/2 -
			6 6 Requeue a/1 -`,
		"a lease is restored, but the key was not deleted": `
			1 1 Restore a/1 -`,
		"the lease of another run ends": `
			1 2 Reserve a/1 -
			3 3 Start a/1 -
			4 4 Finish b/2 -`,
		"each answer is possible, but not in this order": `
			1 2 Reserve a/1 -
			3 9 Start a/1 -
			4 5 Foresee - -
			6 7 Absorb - a/1`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := Check(Register(), keyScript(t, text), time.Minute); err == nil {
				t.Error("the history was accepted")
			}
		})
	}
}

func TestTransition(t *testing.T) {
	key := func() *wrappers.RunKeyWrapper { return wrappers.MakeRunKey("k") }
	named := func(run string) string {
		return Named(runkey.Identity{RunName: run, Token: wrappers.TokenOf(run)})
	}
	for name, tc := range map[string]struct {
		before, after *v1alpha1.RunKeySpec
		want          Operation
	}{
		"seat":                            {nil, key().Pending("a").Row(), Operation{Kind: Seat, Run: named("a")}},
		"seat behind an executing run":    {key().Leased("b", 1, "1").Row(), key().Pending("a").Leased("b", 1, "1").Row(), Operation{Kind: Seat, Run: named("a")}},
		"leave":                           {key().Pending("a").Row(), nil, Operation{Kind: Leave, Run: named("a")}},
		"replace":                         {key().Pending("a").Row(), key().Pending("b").Row(), Operation{Kind: Replace, Run: named("b"), Holder: named("a")}},
		"start":                           {key().Pending("a").Row(), key().Leased("a", 1, "1").Row(), Operation{Kind: Start, Run: named("a")}},
		"start and seat":                  {key().Pending("a").Line("b").Row(), key().Pending("b").Leased("a", 1, "1").Row(), Operation{Kind: Start, Run: named("a"), Holder: named("b")}},
		"start, and another is in line":   {key().Pending("a").Line("b").Row(), key().Leased("a", 1, "1").Line("b").Row(), Operation{Kind: Start, Run: named("a"), Line: named("b")}},
		"mark":                            {key().Pending("a").Row(), key().Pending("a").Line("b").Row(), Operation{Kind: Mark, Line: named("b")}},
		"the mark goes":                   {key().Pending("a").Line("b").Row(), key().Pending("a").Row(), Operation{Kind: Mark}},
		"finish":                          {key().Leased("a", 1, "1").Row(), nil, Operation{Kind: Finish, Run: named("a")}},
		"the run that waits succeeds":     {key().Pending("b").Leased("a", 1, "1").Row(), key().Leased("b", 1, "2").Row(), Operation{Kind: Succeed, Run: named("b"), Holder: named("a")}},
		"finish while another run waits":  {key().Pending("b").Leased("a", 1, "1").Row(), key().Pending("b").Row(), Operation{Kind: Finish, Run: named("a")}},
		"requeue":                         {key().Leased("a", 1, "1").Row(), key().Pending("a").Row(), Operation{Kind: Requeue, Run: named("a")}},
		"displace":                        {key().Pending("b").Leased("a", 1, "1").Row(), key().Pending("a").Row(), Operation{Kind: Displace, Run: named("a"), Holder: named("b")}},
		"restore":                         {nil, key().Leased("a", 1, "1").Row(), Operation{Kind: Restore, Run: named("a")}},
		"another claim of the leased run": {key().Leased("a", 1, "1").Row(), key().Leased("a", 1, "2").Row(), Operation{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Transition(tc.before, tc.after)
			if err != nil || got.Kind != tc.want.Kind || got.Run != tc.want.Run || got.Holder != tc.want.Holder || got.Line != tc.want.Line {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct{ before, after *v1alpha1.RunKeySpec }{
		"the lease passes to another run":       {key().Leased("a", 1, "1").Row(), key().Leased("b", 1, "1").Row()},
		"a run starts, but it does not wait":    {key().Pending("a").Row(), key().Leased("b", 1, "1").Row()},
		"a run ends and the waiting one leaves": {key().Pending("b").Leased("a", 1, "1").Row(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Transition(tc.before, tc.after); err == nil {
				t.Errorf("got %+v, want an error", got)
			}
		})
	}
}
