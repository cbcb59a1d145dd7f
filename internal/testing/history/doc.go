// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history records what several processes did to JobRuns, as operations
// with a call and a return, and checks that the whole could have happened one
// operation after the other (linearizability, by porcupine).
//
// A process writes its own log with a Recorder: one JSON line when it calls and
// one when it is answered, so that a process that is killed leaves a call without
// an answer. Such an operation, and one whose answer was lost, has the outcome
// Unknown: it may have taken effect at any time after its call, or never. Read
// takes the logs of all processes of one machine together; their times are those
// of the machine's monotonic clock.
//
// Lease is the model of section "Who executes" of docs/design.md: mutual
// exclusion per key, generations that never repeat, and at most one completion
// that is accepted per generation. Stored follows what the API server stored, in
// the order in which it did, and holds the same against every instant of it.
//
// # What is not checked
//
// An operation that was refused never contradicts anything: whether a refusal was
// called for is for other tests. What a holder does elsewhere than in the API is
// not seen.
package history
