// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package worker executes runs that have no template: a process claims them,
// calls a handler, and reports what it returned. docs/workers.md has the protocol.
//
//	w, err := worker.NewForConfig(config, worker.Options{Namespace: "demo", Concurrency: 10})
//	w.Handle("sync-users", func(ctx context.Context, run *worker.Run) (any, error) {
//		var in Input
//		if err := run.Input(&in); err != nil {
//			return nil, err
//		}
//		return sync(ctx, in)
//	})
//	err = w.Run(ctx)
//
// # What it promises
//
// The context of a handler is done, with ErrLeaseLost as its cause, no later than
// the lease may be given to another worker; and what a handler returns after that
// is not written. A handler that goes on regardless is beyond this: hand
// Run.Generation, or Run.KeyVersion for what belongs to the key, to whatever can
// refuse a lower one.
//
// # What it costs
//
// One list and one watch per job, then a claim and an outcome per run. While
// runs are held, one renewal of one Lease at a third of the shortest duration;
// none per run. An idle worker sends nothing but a new watch every 5 to 10 minutes.
//
// One run that 50 idle workers see costs at most 50 claims and an outcome. Up to 51
// calls were measured on two busy cores, and 6 claims on average where a request and
// an event take 10 ms each. A worker makes its Lease when it starts. A worker that was idle
// pauses at random before it claims, for longer where others were faster before.
package worker
