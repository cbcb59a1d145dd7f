// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Kind is what an operation does. Packages that bring a model of their own add
// kinds of their own.
type Kind string

// What a holder does.
const (
	// Claim acquires the lease of a run under a new generation.
	Claim Kind = "Claim"
	// Progress and Renew need the lease and do not change who holds it.
	Progress Kind = "Progress"
	Renew    Kind = "Renew"
	// GiveBack ends the lease, so that the run waits again.
	GiveBack Kind = "GiveBack"
	// Complete and Fail end the run under the generation of the lease.
	Complete Kind = "Complete"
	Fail     Kind = "Fail"
)

// What a process does elsewhere. Lease leaves it out.
const (
	// Execute lasts as long as the work on a run; Answer is why it was stopped.
	Execute Kind = "Execute"
	// Write is a write elsewhere, which may be fenced.
	Write Kind = "Write"
)

// What was seen to be stored, whoever did it, some time after it was.
const (
	// Released is that a generation is not held any more: its lease expired or
	// was given back.
	Released Kind = "Released"
	// Ended is that the run has a final phase; Generation is the last that held it.
	Ended Kind = "Ended"
)

// Outcome is what became of an operation.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "OK"
	Refused Outcome = "Refused"
	// Unknown is that the answer was lost, or never awaited.
	Unknown Outcome = "Unknown"
)

// Never is the return of an operation that may still take effect.
const Never = math.MaxInt64

// Operation is one operation on a run.
type Operation struct {
	// Process did it.
	Process string `json:"process"`
	Kind    Kind   `json:"kind"`
	// Key is what excludes: see KeyOf.
	Key        string `json:"key,omitempty"`
	Run        string `json:"run,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	Holder     string `json:"holder,omitempty"`

	// Call and Return are nanoseconds of the clock that Now reads.
	Call   int64 `json:"-"`
	Return int64 `json:"-"`

	Outcome Outcome `json:"-"`
	// Answer is for people: why it was refused, for one.
	Answer string `json:"-"`
}

// KeyOf names what excludes others of a run: its concurrencyKey or, without one,
// the run itself.
func KeyOf(run *v1alpha1.JobRun) string {
	if run.Spec.ConcurrencyKey == "" {
		return run.Namespace + "/run/" + run.Name
	}
	return run.Namespace + "/" + run.Spec.JobName + "/" + run.Spec.ConcurrencyKey
}

func (o Operation) String() string {
	text := fmt.Sprintf("%s: %s %s", o.Process, o.Kind, o.Run)
	if o.Generation > 0 {
		text += fmt.Sprintf(", generation %d", o.Generation)
	}
	if o.Holder != "" {
		text += " by " + o.Holder
	}
	text += " -> " + string(o.Outcome)
	if o.Answer != "" {
		text += " (" + o.Answer + ")"
	}
	return text
}

// attempt identifies what is one operation however often it is sent.
type attempt struct {
	process    string
	kind       Kind
	key, run   string
	generation int64
}

// JoinRetries makes one operation of those that a process sent again because it
// did not know what became of them: it was called when the first of them was, and
// took effect if any of them did. The result is in the order of the calls.
func JoinRetries(operations []Operation) []Operation {
	operations = slices.Clone(operations)
	slices.SortStableFunc(operations, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	var joined []Operation
	open := map[attempt]int{} // where the one is of which nothing is known
	for _, o := range operations {
		id := attempt{o.Process, o.Kind, o.Key, o.Run, o.Generation}
		i, retried := open[id]
		switch {
		case retried && o.Outcome == OK:
			joined[i].Outcome, joined[i].Return, joined[i].Answer = OK, o.Return, o.Answer
			delete(open, id)
		case retried: // Refused or not, an earlier one may have taken effect.
			joined[i].Answer = o.Answer
		default:
			if o.Outcome == Unknown {
				open[id] = len(joined)
			}
			joined = append(joined, o)
		}
	}
	return joined
}
