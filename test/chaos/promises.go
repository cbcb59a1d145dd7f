// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"regexp"
)

// promise is a property that must hold, with the result of checking it.
type promise struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Checked is the number of checks.
	Checked    int      `json:"checked"`
	Violations []string `json:"violations,omitempty"`
}

// The promises that are not invariants of docs/design.md.
const (
	linearizable = "linearizable"
	answered     = "answers"
	atGateways   = "gateway"
	oneOutcome   = "outcomes"
	leases       = "leases"
	nothingLeft  = "nothing left"
	becomesQuiet = "quiet"
	otherwise    = "rules"
	sound        = "managers"
)

func newPromises() []*promise {
	return []*promise{
		{Name: "I1", About: "at most one run of a key waits and one executes; statuses follow the RunKey"},
		{Name: "I2", About: "each accepted trigger executes, or a run that started later stands for it"},
		{Name: "I3", About: "each absorbed trigger is counted exactly once"},
		{Name: "I4", About: "generations only rise; a Job has the lease of its RunKey"},
		{Name: "I5", About: "a run whose lease expired waits again, or fails for the run that waits"},
		{Name: "I6", About: "a trigger that is delivered twice is one run"},
		{Name: "I7", About: "a dry run changes nothing and predicts the answer"},
		{Name: "I8", About: "a key is released only when no Job and no Pod executes for it"},
		{Name: linearizable, About: "one order explains all answers and all writes of a key"},
		{Name: answered, About: "an accepted trigger is stored, a refused one is not"},
		{Name: atGateways, About: "each trigger that a gateway accepts is stored before its answer, and counted exactly once"},
		{Name: oneOutcome, About: "every accepted trigger has exactly one outcome"},
		{Name: leases, About: "no lease expires that is renewed in time"},
		{Name: otherwise, About: "the rules P1 to P14"},
		{Name: sound, About: "no manager and no gateway panics or has a data race"},
		{Name: nothingLeft, About: "no RunKey, Job, Pod or receipt is left over"},
		{Name: becomesQuiet, About: "everything comes to rest"},
	}
}

// promise returns the promise of that name. Names without a promise belong to "rules".
func (r *Report) promise(name string) *promise {
	for _, p := range r.Promises {
		if p.Name == name {
			return p
		}
	}
	return r.promise(otherwise)
}

// put counts checks of a promise.
func (r *Report) put(name string, times int) { r.promise(name).Checked += times }

// violate records a violation of a promise.
func (r *Report) violate(name, format string, args ...any) {
	p := r.promise(name)
	p.Violations = append(p.Violations, fmt.Sprintf(format, args...))
}

// ofInvariant matches the beginning of the judge's messages.
var ofInvariant = regexp.MustCompile(`^(I\d|P\d+|batch): `)

// judged records a violation that the judge found. The promise is the one that the message begins with.
func (r *Report) judged(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	name := otherwise
	if found := ofInvariant.FindStringSubmatch(text); found != nil {
		name = found[1]
	}
	r.violate(name, "%s", text)
}
