// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package decision decides what to do about a key or a run, from a snapshot of it.
//
// Decide is pure: it turns a Snapshot into a Plan. The package has no client, context, clock or logger. The
// controller observes, and carries plans out. A Plan is an ordered list of checks and writes, and says when
// to decide again even if nothing changes. Each JobRun of a snapshot has one Role, which is computed once.
// The steps of Decide switch over the roles.
//
// Where to look:
//   - the roles of JobRuns: role.go
//   - the run that stands for a receipt: standing.go
//   - the order of the steps: decide.go
//   - the order of a claim's writes: claim.go
//   - the expiry of a lease: expiry.go
//   - the notes about Jobs that may still appear: unconfirmed.go
//   - the count of absorbed triggers: absorb.go
//   - the coalesce policies, here and at admission: runkey/coalesce.go
//
// A snapshot may be stale. So before a plan deletes an object or gives a place away, a live read or a precondition
// checks that the snapshot still holds.
package decision
