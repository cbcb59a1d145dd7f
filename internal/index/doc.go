// Package index is the unique index over keys: the one place that reads and
// writes RunKeys.
//
// etcd makes a name unique and lets a resourceVersion be compared, so creating a
// RunKey is the insert that can fail, updating it is a compare-and-swap, and
// deleting it names the version it deletes. Live reads of one key are shared by
// everybody who was waiting when the read began, so that a storm of duplicates
// costs reads per round trip, not per trigger.
//
// It does not promise that a write whose answer was lost did not happen.
package index
