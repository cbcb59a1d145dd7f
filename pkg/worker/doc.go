// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package worker executes runs that have no template. A Worker claims runs, calls a handler for each, and reports what
// the handler returned. It follows the protocol in docs/workers.md.
//
//	w, err := worker.NewForConfig(config, worker.Options{Namespace: "demo", Concurrency: 10})
//	...
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
// When a lease is lost, the worker cancels the handler's context with the cause ErrLeaseLost before the operator may give
// the run to another worker. Nothing that the handler returns after that is written. The worker cannot stop a handler
// that ignores its context. Therefore hand a fencing token to every system that can refuse a lower one: Run.Generation
// for what belongs to the run, Run.KeyVersion for what belongs to the key.
//
// # What it costs
//
// The worker sends one list and one watch per job, one create or takeover of its Lease at the start, and a claim and an
// outcome per run. While it holds runs, it renews one Lease at a third of the shortest duration, however many runs it
// holds. An idle worker sends nothing but a new watch every 5 to 10 minutes.
//
// One run that 50 idle workers see costs at most 50 claims and an outcome. Two busy cores needed up to 51 calls; where a
// request and an event take 10 ms each, it took 6 claims on average. An idle worker pauses at random before it claims,
// for longer after other workers were faster.
package worker
