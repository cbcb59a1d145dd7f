// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package group makes one JobRun of many triggers of one key: a group commit.
//
// The first trigger of a key is sent at once. While its create is under way, further triggers of the same key wait. When the
// create is answered, one JobRun is sent for all that wait, with spec.represents. A key commits one group after the other. Keys
// do not wait for each other.
//
// A trigger that lacks the key or the coalesce may get it from the definition of its job. Unless that is known, the first such trigger
// is sent alone, and others of the job, of whatever key, wait for its answer, which names the definition.
//
// trigger.go and rules.go are pure: which triggers share a JobRun, what it says about them, what its answer means for each.
// groups.go waits and sends: while triggers of a key are under way, one goroutine sends their JobRuns. search.go
// finds the definitions that give triggers their keys, and known.go remembers them.
//
// Each trigger is represented exactly once, or its caller gets an error. A trigger is sent alone if the JobRun of its group was
// refused for any reason but a conflict of the key, because the reason may be another trigger's.
//
// # What the package does not promise
//
// The order of triggers in a group is that in which they came to the package, not that in which they were sent.
//
// A trigger that joins a group is completed by the JobDefinition that completed the JobRun before it. A definition that changes
// at this moment may refuse the same trigger a few milliseconds later.
package group
