// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// What a trigger learns of its key. Run is the trigger's own run, Holder the one that it was answered with.
const (
	// Reserve is that the key was free and is the trigger's now.
	Reserve Kind = "Reserve"
	// Foresee is that the key was free: the answer to a dry run.
	Foresee Kind = "Foresee"
	// Absorb and Refuse are that Holder waits.
	Absorb Kind = "Absorb"
	Refuse Kind = "Refuse"
)

// What is seen to become of a key. Run comes to have a place in it or leaves it, and Holder is who leaves it to Run.
const (
	// Seat gives the free waiting place to Run, and Replace takes it from Holder.
	Seat    Kind = "Seat"
	Replace Kind = "Replace"
	// Leave frees the waiting place.
	Leave Kind = "Leave"
	// Start leases the key to the run that waits, and Finish ends its lease; Requeue lets it wait again, and Displace
	// does so in the place of Holder.
	Start    Kind = "Start"
	Finish   Kind = "Finish"
	Requeue  Kind = "Requeue"
	Displace Kind = "Displace"
	// Vanish is that somebody deleted the key, and Restore that a run gets its lease back after that.
	Vanish  Kind = "Vanish"
	Restore Kind = "Restore"
)

var registerSeed = maphash.MakeSeed()

// Register is the model of a concurrency key as its triggers see it: a place for the run that waits and one for the
// run that executes.
func Register() Model {
	return Model{
		By:    func(o Operation) string { return "the key " + o.Key },
		Init:  func() any { return registerState{} },
		Step:  func(state any, o Operation) (any, bool) { return state.(registerState).step(o) },
		Equal: func(a, b any) bool { return a == b },
		Hash:  func(state any) uint64 { return maphash.Comparable(registerSeed, state.(registerState)) },
		Describe: func(state any) string {
			s := state.(registerState)
			return fmt.Sprintf("%s waits and %s executes", orNobody(s.pending), orNobody(s.leased))
		},
	}
}

func orNobody(run string) string {
	if run == "" {
		return "nobody"
	}
	return run
}

// registerState is who has the two places; nobody is empty. A key that was deleted by hand may be restored.
type registerState struct {
	pending, leased string
	bereft          bool
}

func (s registerState) step(o Operation) (registerState, bool) {
	was := s
	switch o.Kind {
	case Reserve:
		s.pending = o.Run
		return s, was.pending == "" || nameOf(was.pending) == nameOf(o.Run) // The other one never came to exist.
	case Seat:
		s.pending = o.Run
		return s, was.pending == ""
	case Replace:
		s.pending = o.Run
		return s, was.pending == o.Holder
	case Foresee:
		return s, was.pending == ""
	case Absorb:
		return s, was.pending == o.Holder
	case Refuse: // A refusal tells the name alone.
		return s, was.pending != "" && nameOf(was.pending) == nameOf(o.Holder)
	case Leave:
		s.pending = ""
		return s, was.pending == o.Run
	case Start:
		s.pending, s.leased = "", o.Run
		return s, was.pending == o.Run && was.leased == ""
	case Finish:
		s.leased = ""
		return s, was.leased == o.Run
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

// Transition tells what became of a concurrency key by one write. Nil stands for a key that is not there. It is an
// error if the write is no transition that there is.
func Transition(before, after *v1alpha1.RunKeySpec) (Operation, error) {
	pending, leased := change{runkey.Pending(before), runkey.Pending(after)}, change{runkey.Leased(before), runkey.Leased(after)}
	o := Operation{Process: Observer, Outcome: OK}
	switch {
	case leased.none() && pending.enters():
		o.Kind, o.Run = Seat, Named(pending.after)
	case leased.none() && pending.leaves():
		o.Kind, o.Run = Leave, Named(pending.before)
	case leased.none() && !pending.none():
		o.Kind, o.Run, o.Holder = Replace, Named(pending.after), Named(pending.before)
	case leased.enters() && pending.leaves() && pending.before == leased.after:
		o.Kind, o.Run = Start, Named(leased.after)
	case leased.enters() && pending.none():
		o.Kind, o.Run = Restore, Named(leased.after)
	case leased.leaves() && pending.none():
		o.Kind, o.Run = Finish, Named(leased.before)
	case leased.leaves() && pending.enters() && pending.after == leased.before:
		o.Kind, o.Run = Requeue, Named(leased.before)
	case leased.leaves() && pending.after == leased.before:
		o.Kind, o.Run, o.Holder = Displace, Named(leased.before), Named(pending.before)
	case leased.none() && pending.none():
		return o, nil // Nobody came or went.
	default:
		return o, errors.New("no transition of a key is this")
	}
	return o, nil
}

// Named names a run as the operations of a Register do.
func Named(id runkey.Identity) string { return id.RunName + "/" + id.Token }

func nameOf(named string) string {
	name, _, _ := strings.Cut(named, "/")
	return name
}

// change is who has a place before and after a write.
type change struct{ before, after runkey.Identity }

func (c change) none() bool   { return c.before == c.after }
func (c change) enters() bool { return c.before == runkey.Identity{} && !c.none() }
func (c change) leaves() bool { return c.after == runkey.Identity{} && !c.none() }
