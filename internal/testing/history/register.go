// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// These kinds are answers to triggers of a key. Run is the trigger's own JobRun. Holder is the run that the answer
// names.
const (
	// Reserve means that the waiting place was free, that no run waited in line, and that Run has the place now.
	Reserve Kind = "Reserve"
	// Foresee means that the waiting place was free when a dry run asked, and that no run waited in line.
	Foresee Kind = "Foresee"
	// Absorb and Refuse mean that Holder waits, or is the first in line while the waiting place is free.
	Absorb Kind = "Absorb"
	Refuse Kind = "Refuse"
)

// These kinds are changes of a key that an observer sees. Run gets a place or leaves one. Holder is the run whose
// waiting place Run takes.
const (
	// Seat gives the free waiting place to Run.
	Seat Kind = "Seat"
	// Replace gives Holder's waiting place to Run.
	Replace Kind = "Replace"
	// Leave frees the waiting place.
	Leave Kind = "Leave"
	// Start leases the key to Run, which waited. If there is a Holder, it gets the waiting place.
	Start Kind = "Start"
	// Finish ends the lease of Run.
	Finish Kind = "Finish"
	// Succeed ends the lease of Holder, and leases the key to Run, which waited.
	Succeed Kind = "Succeed"
	// Requeue ends the lease of Run and gives it the free waiting place.
	Requeue Kind = "Requeue"
	// Displace ends the lease of Run and gives it Holder's waiting place.
	Displace Kind = "Displace"
	// Mark changes the first run in line, and nothing else.
	Mark Kind = "Mark"
	// Vanish means that a person deleted the RunKey.
	Vanish Kind = "Vanish"
	// Restore gives Run its lease back after the RunKey was deleted.
	Restore Kind = "Restore"
)

var registerSeed = maphash.MakeSeed()

// Register is the model of a concurrency key as its triggers see it. It has a place for the run that waits, one for the
// run that executes, and a mark for the first run in line.
func Register() Model {
	return Model{
		By:    func(o Operation) string { return "the key " + o.Key },
		Init:  func() any { return registerState{} },
		Step:  func(state any, o Operation) (any, bool) { return state.(registerState).step(o) },
		Equal: func(a, b any) bool { return a == b },
		Hash:  func(state any) uint64 { return maphash.Comparable(registerSeed, state.(registerState)) },
		Describe: func(state any) string {
			s := state.(registerState)
			return fmt.Sprintf("%s waits, %s is the first in line and %s executes", orNoRun(s.pending), orNoRun(s.line), orNoRun(s.leased))
		},
	}
}

func orNoRun(run string) string {
	if run == "" {
		return "no run"
	}
	return run
}

// registerState has the runs in the two places and the first in line, "" for none.
type registerState struct {
	pending, line, leased string
	bereft                bool // a person deleted the RunKey, so a lease may be restored
}

// step returns the state after an operation, and whether the operation is possible.
func (s registerState) step(o Operation) (registerState, bool) {
	next := cmp.Or(s.pending, s.line)
	switch o.Kind {
	case Reserve: // A trigger may take over a reservation under its own name (P1).
		free := next == "" || nameOf(next) == nameOf(o.Run)
		if s.pending = o.Run; nameOf(s.line) == nameOf(o.Run) {
			s.line = ""
		}
		return s, free
	case Foresee:
		return s, next == ""
	case Absorb:
		return s, next == o.Holder
	case Refuse: // A refusal contains the run's name, but not its token.
		return s, next != "" && nameOf(next) == nameOf(o.Holder)
	default:
		return s.change(o)
	}
}

// change is step for a change that an observer saw.
func (s registerState) change(o Operation) (registerState, bool) {
	was := s
	s.line = o.Line
	switch o.Kind {
	case Mark:
		return s, true
	case Seat:
		s.pending = o.Run
		return s, was.pending == ""
	case Replace:
		s.pending = o.Run
		return s, was.pending == o.Holder
	case Leave:
		s.pending = ""
		return s, was.pending == o.Run
	case Start:
		s.pending, s.leased = o.Holder, o.Run
		return s, was.pending == o.Run && was.leased == ""
	case Finish:
		s.leased = ""
		return s, was.leased == o.Run
	case Succeed:
		s.pending, s.leased = "", o.Run
		return s, was.pending == o.Run && was.leased == o.Holder
	case Requeue:
		s.pending, s.leased = o.Run, ""
		return s, was.leased == o.Run && was.pending == ""
	case Displace:
		s.pending, s.leased = o.Run, ""
		return s, was.leased == o.Run && was.pending == o.Holder
	case Vanish:
		return registerState{bereft: true}, true
	case Restore:
		if s.leased = o.Run; s.pending == o.Run {
			s.pending = ""
		}
		return s, was.leased == "" && was.bereft
	default:
		return s, false
	}
}

// Transition returns the operation that one write did to a concurrency key. A nil spec means that the key does
// not exist. The operation has no Kind if both places and the mark stay as they are. A write that no Kind describes is an
// error.
func Transition(before, after *v1alpha1.RunKeySpec) (Operation, error) {
	pending, leased := change{runkey.Pending(before), runkey.Pending(after)}, change{runkey.Leased(before), runkey.Leased(after)}
	o := Operation{Process: Observer, Outcome: OK}
	if line := runkey.Line(after); line != (runkey.Identity{}) {
		o.Line = Named(line)
	}
	switch {
	case leased.none() && pending.enters():
		o.Kind, o.Run = Seat, Named(pending.after)
	case leased.none() && pending.leaves():
		o.Kind, o.Run = Leave, Named(pending.before)
	case leased.none() && !pending.none():
		o.Kind, o.Run, o.Holder = Replace, Named(pending.after), Named(pending.before)
	case leased.enters() && pending.before == leased.after && !pending.none():
		o.Kind, o.Run = Start, Named(leased.after)
		if !pending.leaves() {
			o.Holder = Named(pending.after)
		}
	case leased.enters() && pending.none():
		o.Kind, o.Run = Restore, Named(leased.after)
	case leased.before != (runkey.Identity{}) && pending.leaves() && pending.before == leased.after:
		o.Kind, o.Run, o.Holder = Succeed, Named(leased.after), Named(leased.before)
	case leased.leaves() && pending.none():
		o.Kind, o.Run = Finish, Named(leased.before)
	case leased.leaves() && pending.enters() && pending.after == leased.before:
		o.Kind, o.Run = Requeue, Named(leased.before)
	case leased.leaves() && pending.after == leased.before:
		o.Kind, o.Run, o.Holder = Displace, Named(leased.before), Named(pending.before)
	case leased.none() && pending.none():
		if runkey.Line(before) != runkey.Line(after) {
			o.Kind = Mark
		}
	default:
		return o, errors.New("this change of a key has no Kind")
	}
	return o, nil
}

// Named returns the text for a run in the operations of Register: its name and token.
func Named(id runkey.Identity) string { return id.RunName + "/" + id.Token }

func nameOf(named string) string {
	name, _, _ := strings.Cut(named, "/")
	return name
}

// change has the runs in one place before and after a write.
type change struct{ before, after runkey.Identity }

func (c change) none() bool   { return c.before == c.after }
func (c change) enters() bool { return c.before == runkey.Identity{} && !c.none() }
func (c change) leaves() bool { return c.after == runkey.Identity{} && !c.none() }
