// Package bench measures what JobRun costs, as ratios and counts: each row of
// its table is measured side by side with what it is compared to, alternating,
// on one API server of this machine, several times over.
//
// Absolute figures of such a machine say little, ratios and counts say much. A
// row that docs/performance.md claims to be reached is a promise: breaking it
// fails the benchmark. See [Goal] for when a promise counts as broken.
package bench
