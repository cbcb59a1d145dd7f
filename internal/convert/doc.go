// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package convert makes a JobDefinition of a CronJob. It is pure: objects in, objects and findings out.
//
// The rule is that a definition never does what its CronJob would not do. Where a definition does more or keeps less, a note
// says so. What would break the rule is a problem, and then there is no definition.
//
//   - concurrencyPolicy Allow: no concurrencyKey, so runs may overlap.
//   - Forbid: one concurrencyKey for all runs, and coalesce Skip. Runs do not overlap. But a CronJob drops the tick that
//     comes while a Job executes, and here it waits. Further ticks are absorbed by the one that waits.
//   - Replace: a problem. A run that executes is never ended for a later one.
package convert
