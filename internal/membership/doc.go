// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package membership shares the homes out among the replicas.
//
// Each replica keeps a Lease of its own and watches the others' Leases. A replica that does so is a member. Each member
// computes alone which member owns a home (share.go): the one with the highest hash of its name and the home. So a change
// of members moves only the homes of the member that left, or the homes that the new member gets.
//
// roster.go judges the Leases of the others, pulse.go judges whether this process gets on. Both get the time as an
// argument. membership.go does the I/O.
//
// The package does not promise that a home has exactly one owner. While the members change, a home may have two owners or
// none for a moment. The controller is correct with any number of owners, because each of its writes is a
// compare-and-swap. A member that gains a home looks at it, so a moment without an owner loses nothing.
package membership
