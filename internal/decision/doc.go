// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package decision decides what to do about a key or a run, from a complete
// snapshot of it.
//
// Decide is pure: a Snapshot goes in, a Plan comes out. Nothing here has a client,
// a context, a clock or a logger; the controller observes and carries plans out.
// A Plan is an ordered list of checks and writes, and says when to look again
// even if nothing changes. Each JobRun of a snapshot has one Role, computed once,
// and the steps of a decision switch over it.
//
// Where to look:
//   - what a JobRun is to its key: role.go
//   - which run stands for a receipt: standing.go
//   - the order of the steps: decide.go
//   - the order of a claim's writes: claim.go
//   - where a lease expires: expiry.go
//   - where absorbed triggers are counted: absorb.go
//   - what a coalesce policy means, here and at admission: runkey/coalesce.go
//
// It does not promise that the snapshot is what is stored. Whatever destroys or
// gives away is checked by an operation of the plan, on a live read.
package decision
