// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Policy says what happens when a trigger and the run that waits for its key meet:
//   - at admission, in Reserve (reserve.go), which keystore.Admit calls for the webhook
//   - for a trigger that bypassed the webhook, in decision/bypassed.go
//   - where a lease expires in front of it, in decision/displace.go
//
// What was absorbed is counted in decision/absorb.go.
type Policy struct {
	// Verdict answers the trigger: Refused, or Absorbed by the waiting run.
	Verdict Verdict
	// GivesWay is true if the trigger, once it waits itself, becomes the receipt of
	// a run whose lease expired and that is to wait again (onLeaseExpired: Requeue).
	GivesWay bool
}

// policies has a row for each value of spec.coalesce. A new value that combines what
// is there is a row here; a constant, an enum value and an element of CoalescePolicies
// in api/v1alpha1 (then make generate); the flag in cli/trigger_flags.go; and what the
// simulation's judge knows of policies. One that does something new to the waiting run
// also needs a Verdict, its answer in Reserve, what Admit makes of it, and its place in
// decision/absorb.go. It begins in the simulation.
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
