// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package runkey is the state machine of one key, over plain values.
//
// It computes what a RunKey becomes when a trigger reserves it, and when a run is claimed, released, requeued
// or displaced. It reads and writes nothing. The caller stores the result by compare-and-swap on the version
// that the decision is based on. When that fails, the caller reads the key again and decides again.
//
// The package does not promise that the runs exist which a RunKey names, nor that a reservation is ever used.
// The controller observes both.
package runkey
