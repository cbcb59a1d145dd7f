// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller executes what the webhook admitted, and repairs what a crash left unfinished.
//
// An entry of the work queue names what runs contend for: a RunKey, or a run without a key. One reconcile observes
// it (observe*.go), decides (package decision), and acts (act*.go). The decision is a pure function from a Snapshot to
// a Plan. The Plan is an ordered list of checks and writes. The first check that fails ends the Plan, and the
// controller observes everything again. Sightings hold what this process has seen, and since when. The next decision
// can finish the state that a crash leaves between any two writes. One reconcile makes at most one transition of a key.
//
// Correctness does not depend on leader election or on the cache. Every write is a compare-and-swap on the version
// that the decision read. Live reads come before a write that deletes something or gives a key away.
//
// The package does not promise the following:
//   - A controller that pauses between its last check and the creation of a Job may create the Job late. It reads the
//     RunKey again right after that, and deletes the Job.
//   - A generation can repeat after a user deletes a RunKey during a claim.
//   - Statuses may lag behind RunKeys while two controllers act at once.
//   - Events are best effort.
package controller
