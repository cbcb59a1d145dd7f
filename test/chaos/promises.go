// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"regexp"
)

// promise is something that must hold, and whether it did.
type promise struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Checked is how often it was put to the test.
	Checked    int      `json:"checked"`
	Violations []string `json:"violations,omitempty"`
}

// The promises that are not invariants of docs/design.md.
const (
	linearizable = "linearizable"
	answered     = "answers"
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
		{Name: "I7", About: "a dry run changes nothing, and predicts"},
		{Name: "I8", About: "a key goes on only when nothing executes for it"},
		{Name: linearizable, About: "the answers of each key fit one order with what was stored"},
		{Name: answered, About: "what was accepted is stored, and what was refused is not"},
		{Name: oneOutcome, About: "every accepted trigger has exactly one outcome"},
		{Name: leases, About: "no lease expires that is renewed in time"},
		{Name: otherwise, About: "the rules P1 to P12"},
		{Name: sound, About: "no manager panics or has a data race"},
		{Name: nothingLeft, About: "no RunKey, Job, Pod or receipt is left over"},
		{Name: becomesQuiet, About: "all comes to rest"},
	}
}

func (r *Report) promise(name string) *promise {
	for _, p := range r.Promises {
		if p.Name == name {
			return p
		}
	}
	return r.promise(otherwise)
}

// put counts that promises were put to the test.
func (r *Report) put(name string, times int) { r.promise(name).Checked += times }

// violate tells that a promise was broken.
func (r *Report) violate(name, format string, args ...any) {
	p := r.promise(name)
	p.Violations = append(p.Violations, fmt.Sprintf(format, args...))
}

// ofInvariant is how the judge of histories begins what it says.
var ofInvariant = regexp.MustCompile(`^(I\d|P\d+|batch): `)

// judged sorts a violation that the judge found to its promise.
func (r *Report) judged(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	name := otherwise
	if found := ofInvariant.FindStringSubmatch(text); found != nil {
		name = found[1]
	}
	r.violate(name, "%s", text)
}
