// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jobrun triggers runs with a key, waits for their outcome and follows
// what becomes of them, without any knowledge of RunKeys, receipts or admission
// fields.
//
// A trigger creates a JobRun. What became of it is in the answer: Created (it
// is a run of its own), Coalesced (a run that waits for the same key stands for
// it) or Idempotent (it was delivered before). A trigger that is refused because
// a run waits for its key is a *ConflictError.
//
// # What the package does not promise
//
// A create whose answer is lost is sent again under the same name, and its own
// JobRun is recognised. If that JobRun ran and was deleted before the second
// attempt, the trigger executes twice: give it an idempotencyKey and a
// ttlSecondsAfterFinished that is not 0. To repeat a trigger after Trigger
// itself returned, or from another process, an idempotencyKey is the only way.
//
// A JobRun that was deleted takes its record with it. Wait and Watch tell its
// outcome only if they saw it.
package jobrun
