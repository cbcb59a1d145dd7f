// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bench measures what JobRun costs, as ratios and counts: each row of
// its table is measured side by side with what it is compared to, alternating,
// on one API server of this machine, several times over.
//
// Absolute figures of such a machine say little, ratios and counts say much. A
// row that docs/performance.md promises fails the benchmark when it is broken.
// See [Goal] for when that is.
package bench
