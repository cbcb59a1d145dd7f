// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bench measures what JobRun costs, as ratios and counts. It measures each row of its table and the thing that the
// row is compared to in turn, several times, on one local API server. Absolute figures of one machine say little.
//
// The benchmark fails if a row breaks a promise of docs/performance.md. See [Kind] for when a promise is broken.
package bench
