// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"math"
	"slices"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/history"
)

// porcupineTimeout bounds the check of one key.
const porcupineTimeout = time.Minute

// state is what an object was from a revision on. The value is the zero value if the object does not exist.
type state[T any] struct {
	revision uint64
	value    T
}

// timeline has all states of an object, in order.
type timeline[T any] []state[T]

// ever reports whether an object met a condition at some instant between two revisions.
func (t timeline[T]) ever(from, to uint64, so func(T) bool) bool {
	var value T
	i := 0
	for ; i < len(t) && t[i].revision <= from; i++ {
		value = t[i].value
	}
	if so(value) {
		return true
	}
	return slices.ContainsFunc(t[i:], func(s state[T]) bool { return s.revision <= to && so(s.value) })
}

// aboutKeys returns the requests whose answers tell something about a key, but for the triggers that a gateway accepted.
func (h *records) aboutKeys(namespace string) []*request {
	var found []*request
	for i := range h.requests {
		asked := &h.requests[i]
		if asked.Namespace == namespace && (asked.creates() || asked.Verb == dryRun) && (asked.Gateway == "" || asked.Outcome == conflict) {
			found = append(found, asked)
		}
	}
	return found
}

// checkKeys checks the answers to triggers against the RunKeys: each answer by itself, then all answers and all
// writes of a key together. Keys with a wrong answer are left out of the second check.
func (r *Report) checkKeys(h *records, requests []*request, rows map[string]timeline[*v1alpha1.RunKeySpec], operations []history.Operation) {
	broken := map[string]bool{}
	for _, asked := range requests {
		if asked.ConcurrencyKey+asked.IdempotencyKey == "" {
			continue
		}
		k := &keyCheck{Report: r, asked: asked, rows: rows, from: h.pulse.after(asked.Sent), to: h.pulse.before(asked.Answered)}
		if o, ok := k.check(); ok {
			operations = append(operations, o)
		}
		broken[k.name()] = broken[k.name()] || k.broken
	}
	operations = slices.DeleteFunc(operations, func(o history.Operation) bool { return broken[o.Key] })
	if err := history.Check(history.Register(), withoutReserved(operations), porcupineTimeout); err != nil {
		r.violate(linearizable, "%v", err)
	}
}

// readKeys returns the rows of all RunKeys, and the writes of the concurrency RunKeys as operations.
func (r *Report) readKeys(h *records, writes []write) (map[string]timeline[*v1alpha1.RunKeySpec], []history.Operation) {
	rows := map[string]timeline[*v1alpha1.RunKeySpec]{}
	var operations []history.Operation
	for _, w := range writes {
		key, ok := w.Object().(*v1alpha1.RunKey)
		if !ok {
			continue
		}
		var before, after *v1alpha1.RunKeySpec
		if old, ok := w.Old.(*v1alpha1.RunKey); ok {
			before = &old.Spec
		}
		if w.New != nil {
			after = &key.Spec
		}
		rows[key.Name] = append(rows[key.Name], state[*v1alpha1.RunKeySpec]{w.Revision, after})
		if key.Spec.Kind != v1alpha1.RunKeyConcurrency {
			continue
		}
		r.put("I1", 1)
		o, err := history.Transition(before, after)
		if after == nil && h.vandalised[key.UID] {
			o.Kind, o.Run, o.Holder, o.Line, err = history.Vanish, "", "", "", nil
		}
		if err != nil {
			r.violate("I1", "RunKey %s of %q at %d: %v: from pending %v, line %v, leased %v, to pending %v, line %v, leased %v",
				key.Name, key.Spec.Key, w.Revision, err, runkey.Pending(before), runkey.Line(before), runkey.Leased(before),
				runkey.Pending(after), runkey.Line(after), runkey.Leased(after))
		}
		if o.Kind != "" {
			o.Key, o.Call, o.Return = key.Name, at(w.Revision), at(w.Revision)
			operations = append(operations, o)
		}
	}
	return rows, operations
}

// at returns the time of a write in the history of a key.
func at(revision uint64) int64 { return int64(2 * revision) }

// since returns a time after a write and before the next one.
func since(revision uint64) int64 {
	if revision >= math.MaxInt64/2 {
		return history.Never
	}
	return at(revision) + 1
}

// withoutReserved drops the first write that gives a run its place, if the history has the answer to the run's trigger:
// both are the same operation.
func withoutReserved(operations []history.Operation) []history.Operation {
	told := map[string]bool{}
	for _, o := range operations {
		if o.Kind == history.Reserve {
			told[o.Run] = true
		}
	}
	first := map[string]bool{}
	return slices.DeleteFunc(operations, func(o history.Operation) bool {
		seat := (o.Kind == history.Seat || o.Kind == history.Replace) && told[o.Run] && !first[o.Run]
		if seat {
			first[o.Run] = true
		}
		return seat
	})
}

// waiting returns the run that triggers of a key see waiting: the first in line while the place is free.
func waiting(s *v1alpha1.RunKeySpec) runkey.Identity {
	if next := runkey.NextToStart(s); next != nil {
		return next.RunIdentity
	}
	return runkey.Identity{}
}

// keyCheck checks one answer about a key: it must have been true at some instant between the request and the answer.
type keyCheck struct {
	*Report
	asked    *request
	rows     map[string]timeline[*v1alpha1.RunKeySpec]
	from, to uint64
	broken   bool
}

func (k *keyCheck) name() string {
	return v1alpha1.ConcurrencyKeyName(k.asked.JobName, k.asked.ConcurrencyKey)
}

// check checks the answer. It returns the answer as an operation on the concurrency key, and whether it is one.
func (k *keyCheck) check() (history.Operation, bool) {
	a := k.asked.Admission
	o := history.Operation{Process: k.asked.ID, Key: k.name(), Call: since(k.from), Return: since(k.to), Outcome: history.OK}
	switch {
	case k.asked.Outcome == conflict:
		o.Kind, o.Holder = history.Refuse, k.asked.Pending
		k.require(linearizable, "was refused for pending run "+k.asked.Pending, func(s *v1alpha1.RunKeySpec) bool {
			return waiting(s).RunName == k.asked.Pending
		})
		return o, true
	case k.asked.Outcome != accepted || a == nil:
		return o, false
	case a.Disposition == v1alpha1.DispositionIdempotent:
		k.checkIdempotent(a)
		return o, false
	case k.asked.ConcurrencyKey == "":
		return o, false
	case a.Disposition == v1alpha1.DispositionCoalesced:
		o.Kind, o.Holder = history.Absorb, a.RunName+"/"+a.RunToken
		k.require(k.subject(), "was absorbed by waiting run "+a.RunName, func(s *v1alpha1.RunKeySpec) bool {
			return waiting(s) == runkey.Identity{RunName: a.RunName, Token: a.RunToken}
		})
	case k.asked.Verb == dryRun:
		o.Kind = history.Foresee
		k.require("I7", "was predicted to become a run", func(s *v1alpha1.RunKeySpec) bool {
			return waiting(s) == runkey.Identity{} || waiting(s).RunName == k.asked.Name
		})
	default:
		o.Kind, o.Run = history.Reserve, k.asked.Name+"/"+a.Token
		k.require(linearizable, "was given the waiting place", func(s *v1alpha1.RunKeySpec) bool {
			return runkey.Pending(s).Token == a.Token
		})
	}
	return o, true
}

// subject is the promise that an absorbed trigger or dry run would break.
func (k *keyCheck) subject() string {
	if k.asked.Verb == dryRun {
		return "I7"
	}
	return linearizable
}

// require checks that the concurrency key met the condition at some instant.
func (k *keyCheck) require(promise, claim string, so func(*v1alpha1.RunKeySpec) bool) {
	k.put(promise, 1)
	if !k.rows[k.name()].ever(k.from, k.to, so) {
		k.broken = true
		k.violate(promise, "%s %s (%s) of key %q %s, but that was true at no instant between revisions %d and %d of RunKey %s",
			k.asked.Verb, k.asked.Name, k.asked.ID, k.asked.ConcurrencyKey, claim, k.from, k.to, k.name())
	}
}

// checkIdempotent checks that the run in the answer stood for the idempotency key at some instant.
func (k *keyCheck) checkIdempotent(a *v1alpha1.Admission) {
	k.put("I6", 1)
	run := runkey.Identity{RunName: a.RunName, Token: a.RunToken}
	owned := k.rows[v1alpha1.IdempotencyKeyName(k.asked.JobName, k.asked.IdempotencyKey)].ever(k.from, k.to, func(s *v1alpha1.RunKeySpec) bool {
		return runkey.Owner(s) == run
	})
	waits := k.rows[k.name()].ever(k.from, k.to, func(s *v1alpha1.RunKeySpec) bool {
		return waiting(s) == run && runkey.NextToStart(s).IdempotencyKey == k.asked.IdempotencyKey
	})
	if !owned && !waits {
		k.violate("I6", "trigger %s (%s) was answered Idempotent with run %s, but that run stood for idempotencyKey %q at no instant between revisions %d and %d",
			k.asked.Name, k.asked.ID, run.RunName, k.asked.IdempotencyKey, k.from, k.to)
	}
}
