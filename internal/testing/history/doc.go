// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history records the operations of several processes on JobRuns, and checks that they are
// linearizable: that the same answers could come from executing the operations one after the other, each at
// some time between its call and its return. The checker is porcupine.
//
// Each process writes its own log with a Recorder: one JSON line for a call, and one for its return. A process
// that is killed leaves a call without a return. The outcome of such an operation, and of one whose answer was
// lost, is Unknown: it may take effect at any time after its call, or never. Read joins the logs of all
// processes of one machine. Their times come from the machine's monotonic clock.
//
// There are two models. Lease is that of section 8, "Who executes", of docs/design.md: at most one holder per
// key, generations that never repeat, and at most one accepted completion per generation. Register is that of a
// concurrency key as its triggers see it.
//
// Stored checks the rules of Lease in another way: it compares each stored version of each JobRun with the
// versions before.
//
// # What is not checked
//
// Refused operations are ignored: other tests check that refusals are justified. A history does not contain
// what a holder does outside the API, except for the kinds Execute and Write.
package history
