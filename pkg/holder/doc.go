// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package holder is what the holder of a run's lease writes, each step one request
// on jobruns/status, as docs/workers.md has it. What is written is made by pure
// functions; Claim and Patch.Send send it. pkg/worker does all of it in the right
// order and time; use this package for a holder that is not a process of its own.
//
// # What the package does not promise
//
// It keeps no time: whoever claims must renew, and stop when that failed for the
// duration of the lease.
package holder
