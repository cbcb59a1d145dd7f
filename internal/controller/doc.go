// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller makes what the webhook decided come true, and repairs what
// could not be finished.
//
// The work queue is keyed by the contended thing: a RunKey, or a run without a
// key. One reconcile observes it (observe*.go), decides (package decision), and
// acts (act*.go). The decision is a pure function from a Snapshot to a Plan; the
// Plan is an ordered list of checks and writes, and the first check that fails ends
// it: then everything is observed again. Sightings are what this process alone has
// seen, and since when. A crash between any two writes leaves a state that the next decision
// knows how to finish. At most one transition of a key is made per reconcile.
//
// Correctness never rests on leader election or on the cache: every write is a
// compare-and-swap on the version decided on, and whatever destroys or gives
// away is checked against live reads first.
//
// What it does not promise: a controller that is paused between its last check
// and creating a Job may create it late; it looks at the RunKey again right
// after and deletes the Job. A RunKey that is deleted by hand during a claim can
// make a generation repeat. While two controllers act at once, statuses may lag
// behind RunKeys. Events are best effort.
package controller
