// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"hash/maphash"
	"maps"
)

// Lease is the model of the lease of a key. At most one run of the key has a holder at a time. A run never uses
// a generation twice. A run ends once, under the generation that holds the lease.
func Lease() Model {
	return Model{
		By:   leaseOf,
		Init: func() any { return leaseState{} },
		Step: func(state any, o Operation) (any, bool) { return state.(leaseState).step(o) },
		Equal: func(a, b any) bool {
			x, y := a.(leaseState), b.(leaseState)
			return x.held == y.held && maps.Equal(x.runs, y.runs)
		},
		Hash:     func(state any) uint64 { return state.(leaseState).sum },
		Describe: func(state any) string { return state.(leaseState).String() },
		Over:     generationIsOver,
	}
}

// leaseOf names the lease that an operation needs or changes. It returns "" for others, such as the renewal of
// all leases of a process at once.
func leaseOf(o Operation) string {
	if o.Run == "" || o.Kind == Execute || o.Kind == Write {
		return ""
	}
	return "the lease of " + o.Key
}

// generationIsOver reports whether the operation of unknown outcome can have no effect after the other one,
// because its generation is over by then.
func generationIsOver(unknown, after Operation) bool {
	switch {
	case unknown.Run != after.Run:
		return false
	case after.Kind == Ended:
		return true
	case after.Kind == Claim:
		return after.Generation > unknown.Generation
	default:
		return after.Kind == Released && after.Generation >= unknown.Generation
	}
}

// held is the holder of the lease of a key. The zero value means that the key has none.
type held struct {
	run        string
	generation int64
	holder     string
}

// leasedRun is the state of one run.
type leasedRun struct {
	// last is the last generation that was used.
	last  int64
	ended bool
}

// leaseState is the state of Lease.
type leaseState struct {
	held held
	runs map[string]leasedRun
	// sum is a hash of runs.
	sum uint64
}

var seed = maphash.MakeSeed()

// entry is one entry of leaseState.runs, for the hash.
type entry struct {
	name string
	run  leasedRun
}

func (s leaseState) step(o Operation) (leaseState, bool) {
	run, mine := s.runs[o.Run], s.held == held{o.Run, o.Generation, o.Holder}
	switch o.Kind {
	case Claim:
		run.last = o.Generation
		free := s.held == held{} && !run.ended && s.runs[o.Run].last < o.Generation
		return s.with(held{o.Run, o.Generation, o.Holder}, o.Run, run), free
	case Renew, Progress:
		return s, mine
	case GiveBack:
		run.last = o.Generation + 1
		return s.with(held{}, o.Run, run), mine
	case Complete, Fail:
		run.ended = true
		return s.with(held{}, o.Run, run), mine
	case Released:
		if s.held.run != o.Run || s.held.generation != o.Generation {
			return s, run.last >= o.Generation // The holder gave it back before.
		}
		run.last = o.Generation + 1
		return s.with(held{}, o.Run, run), true
	case Ended:
		known := run.last >= o.Generation
		run.ended = true
		if s.held.run != o.Run {
			return s.with(s.held, o.Run, run), known
		}
		return s.with(held{}, o.Run, run), known
	default:
		return s, false // Not an operation on a lease.
	}
}

// with returns the state with another holder, and with a new state of one run.
func (s leaseState) with(h held, name string, run leasedRun) leaseState {
	next := leaseState{held: h, runs: maps.Clone(s.runs), sum: s.sum}
	if next.runs == nil {
		next.runs = map[string]leasedRun{}
	}
	if old, ok := next.runs[name]; ok {
		next.sum ^= maphash.Comparable(seed, entry{name, old})
	}
	next.runs[name] = run
	next.sum ^= maphash.Comparable(seed, entry{name, run})
	return next
}

func (s leaseState) String() string {
	if s.held == (held{}) {
		return "it has no holder"
	}
	return fmt.Sprintf("%s holds it for run %s under generation %d", s.held.holder, s.held.run, s.held.generation)
}
