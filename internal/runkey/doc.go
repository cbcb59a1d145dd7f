// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package runkey is the state machine of one key, over plain values.
//
// It computes what a RunKey becomes when a trigger reserves it, and when a run is claimed, released, requeued
// or displaced. It reads and writes nothing. The caller stores the result by compare-and-swap on the version
// that the decision is based on. When that fails, the caller reads the key again and decides again.
//
// The runs that a RunKey names may not exist, and a reservation may never be used. The controller finds out
// about both.
package runkey
