// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Policy says what happens when a trigger and the run that waits for its key meet.
type Policy struct {
	// Verdict answers the trigger: Refused, or Absorbed by the waiting run.
	Verdict Verdict
	// GivesWay is true if the trigger, once it waits itself, becomes the receipt of
	// a run whose lease expired and that is to wait again (onLeaseExpired: Requeue).
	GivesWay bool
}

// policies has a row for each value of spec.coalesce. A new value is a row here,
// a constant and an enum value in api/v1alpha1, and, if it lets a waiting run
// become a receipt, the CEL rule on the phases of a JobRun.
var policies = map[v1alpha1.CoalescePolicy]Policy{
	"":                    {Verdict: Refused},
	v1alpha1.CoalesceSkip: {Verdict: Absorbed, GivesWay: true},
}

// PolicyOf is the row of a policy. One that is not known, as a newer replica may
// have admitted, refuses.
func PolicyOf(coalesce v1alpha1.CoalescePolicy) Policy {
	if p, ok := policies[coalesce]; ok {
		return p
	}
	return policies[""]
}
