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

// Kind is what an operation does. A package with its own Model may add its own kinds.
type Kind string

// The operations of a holder.
const (
	// Claim acquires the lease of a run under a new generation.
	Claim Kind = "Claim"
	// Progress and Renew need the lease and do not change its holder.
	Progress Kind = "Progress"
	Renew    Kind = "Renew"
	// GiveBack ends the lease, so that the run waits again.
	GiveBack Kind = "GiveBack"
	// Complete and Fail end the run under the generation of the lease.
	Complete Kind = "Complete"
	Fail     Kind = "Fail"
)

// The operations of a process outside the API. Lease ignores them.
const (
	// Execute lasts as long as the work on a run. Its Answer is why the work was stopped.
	Execute Kind = "Execute"
	// Write is a write to another system, which may refuse it by a fencing token.
	Write Kind = "Write"
)

// The changes that an observer sees in the API server some time after they were stored.
const (
	// Released means that a generation has no holder any more: its lease expired or was given back.
	Released Kind = "Released"
	// Ended means that the run has a final phase. Generation is the last one that had a holder.
	Ended Kind = "Ended"
)

// Outcome is the result of an operation, as far as its process knows.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "OK"
	Refused Outcome = "Refused"
	// Unknown means that the process got no answer.
	Unknown Outcome = "Unknown"
)

// Never is the Return of an operation that may still take effect.
const Never = math.MaxInt64

// Operation is one operation on a run.
type Operation struct {
	// Process names the process that did it.
	Process string `json:"process"`
	Kind    Kind   `json:"kind"`
	// Key is the key of the run: see KeyOf.
	Key        string `json:"key,omitempty"`
	Run        string `json:"run,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	Holder     string `json:"holder,omitempty"`
	// Line is the first run in line after a change of a key. Answers do not tell it.
	Line string `json:"line,omitempty"`

	// Call and Return are nanoseconds of the clock that Now reads.
	Call   int64 `json:"-"`
	Return int64 `json:"-"`

	Outcome Outcome `json:"-"`
	// Answer is for people, for example the reason of a refusal.
	Answer string `json:"-"`
}

// KeyOf names the key for which a run contends. Without a concurrencyKey, a run has a key of its own.
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

// attempt identifies an operation that a process may send several times.
type attempt struct {
	process    string
	kind       Kind
	key, run   string
	generation int64
}

// JoinRetries joins an operation of unknown outcome with its retries by the same process. The joined operation
// has the call of the first one, and its outcome is OK if that of any of them is. The result is in the order of
// the calls.
func JoinRetries(operations []Operation) []Operation {
	operations = slices.Clone(operations)
	slices.SortStableFunc(operations, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	var joined []Operation
	open := map[attempt]int{} // indexes into joined of the operations of unknown outcome
	for _, o := range operations {
		id := attempt{o.Process, o.Kind, o.Key, o.Run, o.Generation}
		i, retried := open[id]
		switch {
		case retried && o.Outcome == OK:
			joined[i].Outcome, joined[i].Return, joined[i].Answer = OK, o.Return, o.Answer
			delete(open, id)
		case retried: // Even if this one was refused, an earlier one may have taken effect.
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
