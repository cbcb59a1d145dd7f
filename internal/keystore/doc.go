// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keystore is the only place that reads and writes RunKeys, the unique index over keys.
//
// etcd stores one object per name and compares resourceVersions. So creating a RunKey is an insert, which fails
// if the row exists. Updating a RunKey is a compare-and-swap, and deleting it names the version to delete.
//
//   - CheckName finds out whether the name of a new JobRun is taken.
//   - Admit takes the keys of a trigger.
//   - Grant leases the waiting run to an external worker.
//   - CompareAndSwap stores what the controller decides.
//   - Unfinished reads the Jobs that a RunKey notes.
//
// If the answer to a write is lost, the write may have happened.
package keystore
