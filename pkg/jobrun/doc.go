// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jobrun is the Go client of JobRun. It triggers runs with a key, waits for their outcome, and watches what
// happens to them. Its caller needs no knowledge of RunKeys and admission fields.
//
//	runs, err := jobrun.NewForConfig(config, "default")
//	...
//	result, err := runs.Trigger(ctx, v1alpha1.JobRunSpec{JobName: "sync-users", ConcurrencyKey: "org_acme"})
//	...
//	outcome, err := runs.WaitFor(ctx, result.JobRun)
//
// A trigger creates a JobRun. The answer has the trigger's disposition:
//
//   - Created: the JobRun is a run.
//   - Coalesced: the JobRun is a receipt. A run that waits for the same key stands for it.
//   - Idempotent: the JobRun is a receipt. It was delivered before, and the run of the first delivery stands for it.
//
// TriggerDefined triggers a job that a JobDefinition defines, by its name and an input:
//
//	result, err := runs.TriggerDefined(ctx, "sync-users", map[string]any{"org": "acme"})
//
// A trigger that does not ask to coalesce is refused with a *ConflictError while a run waits for its key. It is refused
// with a *ReservedError while the key is reserved for a run that does not exist: its create is under way or was refused.
//
// Wait for your own JobRun, run or receipt: a receipt takes over the outcome of the run that stands for it.
//
// # What the package does not promise
//
// Trigger sends a create again if the answer was lost, under the same name, and recognises its own JobRun. If that
// JobRun executed and was deleted before the second attempt, the trigger executes twice. To prevent this, set an
// idempotencyKey and a ttlSecondsAfterFinished other than 0. Only an idempotencyKey makes it safe to repeat a trigger
// after Trigger has returned, or from another process.
//
// A deleted JobRun takes its record with it: Wait and Watch report its outcome only if they saw it.
package jobrun
