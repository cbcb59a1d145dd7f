// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller executes what the webhook admitted, and repairs what a crash left unfinished.
//
// Each entry of the work queue names a RunKey or a JobRun. One reconcile observes it (observe*.go), decides
// (package decision), and acts (act*.go). The decision is a pure function from a Snapshot to a Plan. The Plan is an
// ordered list of checks and writes. The first check that fails ends the Plan, and the controller observes again. One
// reconcile makes at most one transition of a key. After a crash between any two writes, the next decision completes the
// transition. Sightings (sightings.go) hold what only this process has seen, and since when.
//
// All replicas reconcile, each the homes that it owns (shares.go). Correctness depends neither on that nor on the cache: the
// simulation lets several controllers act on all homes. Every write is a compare-and-swap on the version that
// the decision read. Before a write deletes something or gives a key away, live reads confirm the decision.
//
// JobDefinitions have a controller and a queue of their own (definition*.go). It observes a definition, decides which times of its
// schedules are due, creates their JobRuns and writes the status. The name of such a JobRun is a lock, so any number of
// replicas may do that at once.
//
// The package has these limits:
//   - The API server may store a Job up to 34 s after the Job has passed the fence. Its run may have lost the lease by then.
//     The RunKey notes such a Job. But if the next run is claimed before the Job is stored, two Jobs of one key exist
//     until a controller sees the late one and deletes it.
//   - A generation can repeat if a user deletes a RunKey during a claim.
//   - Statuses may lag behind RunKeys while two controllers act at once.
//   - If a user deletes the JobRun of a schedule before its time is in the status of the definition, the time triggers again.
//   - Events are best effort.
package controller
