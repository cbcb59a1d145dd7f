// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keystore is the one place that reads and writes RunKeys, the unique
// index over keys.
//
// etcd makes a name unique and lets a resourceVersion be compared. So creating a
// RunKey is the insert that can fail, updating it is a compare-and-swap, and
// deleting it names the version it deletes. CheckName looks whether the name of a
// new run is taken, Admit takes the keys of a trigger, Grant leases the waiting run
// to a worker. Live reads of one key are shared by
// all callers that were waiting when the read began, so that a storm of
// duplicates costs reads per round trip, not per trigger.
//
// It does not promise that a write whose answer was lost did not happen.
package keystore
