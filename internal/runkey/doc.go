// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package runkey is the state machine of one key, over plain values.
//
// It says what a RunKey becomes when a trigger reserves it, a run is claimed,
// released, requeued or handed on. It reads nothing and writes nothing: whoever
// calls it stores the result by compare-and-swap on the version it decided on,
// and decides again when that fails. It does not promise that the runs it names
// exist, nor that a reservation is ever used: that is observed elsewhere.
package runkey
