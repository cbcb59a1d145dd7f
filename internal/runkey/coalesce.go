// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Policy is the meaning of one value of spec.coalesce. These places apply it:
//   - Reserve (reserve.go), which keystore.Admit calls for the webhook
//   - decision/bypassed.go, to a trigger that bypassed the webhook
//   - decision/displace.go, to a run that waits while a lease expires
type Policy struct {
	// Verdict is the answer to a trigger that finds a run waiting: Refused or Absorbed.
	Verdict Verdict
	// GivesWay is true if a waiting run with this policy gives its place to a run whose lease expired. The
	// run that gives way becomes a receipt. The run that takes the place has onLeaseExpired: Requeue.
	GivesWay bool
}

// policies has a row for each value of spec.coalesce. A new value needs:
//   - a row here
//   - a constant, an enum value and an element of CoalescePolicies in api/v1alpha1, then make generate
//   - the flag in cli/trigger_flags.go
//   - a rule for the judge of the simulation
//
// A value that does something new to the waiting run also needs a Verdict, a case in Reserve, a case in
// keystore.Admit and a place in decision/absorb.go. Start with the simulation.
var policies = map[v1alpha1.CoalescePolicy]Policy{
	"":                    {Verdict: Refused},
	v1alpha1.CoalesceSkip: {Verdict: Absorbed, GivesWay: true},
}

// PolicyOf returns the row of a policy. An unknown policy, which a newer replica may have admitted, refuses.
func PolicyOf(coalesce v1alpha1.CoalescePolicy) Policy {
	if p, ok := policies[coalesce]; ok {
		return p
	}
	return policies[""]
}
