// Package worker executes runs that have no template: a process claims them,
// calls a handler, and reports what it returned.
package worker
