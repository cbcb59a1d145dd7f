// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"time"

	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// effort is the work of a manager since it started.
type effort struct {
	reconciles float64
	// calls is the number of requests to the API server, including those for Events.
	calls float64
	// busy is how long reconcilers worked or waited for answers. cpu is the CPU time of the whole process. Both are in
	// seconds.
	busy, cpu float64
}

// perRun returns the work per run between two observations of a manager.
func perRun(before, after effort, runs int) effort {
	n := float64(runs)
	return effort{
		reconciles: (after.reconciles - before.reconciles) / n,
		calls:      (after.calls - before.calls) / n,
		busy:       (after.busy - before.busy) / n,
		cpu:        (after.cpu - before.cpu) / n,
	}
}

func (w *world) effort(ctx context.Context) (effort, error) {
	metrics, err := w.metrics(ctx)
	return effort{
		reconciles: metrics.Sum("controller_runtime_reconcile_total"),
		calls:      metrics.Sum("rest_client_requests_total"),
		busy:       metrics.Sum("controller_runtime_reconcile_time_seconds"),
		cpu:        metrics.Sum("process_cpu_seconds_total"),
	}, err
}

// metrics reads the manager's metrics. The manager serves them a moment after it is ready.
func (w *world) metrics(ctx context.Context) (metrics operator.Metrics, err error) {
	return metrics, await(ctx, "the manager's metrics", func() (bool, error) {
		metrics, err = w.op.Metrics(ctx, w.manager())
		return err == nil, nil
	})
}

const (
	// A process has settled when it takes less than settledShare of a CPU during settleWindow.
	settleWindow = 3 * time.Second
	settledShare = 0.1
	// restWindow is the window for the control plane. It is longer, because reading its metrics costs some milliseconds.
	restWindow = 10 * time.Second
)

// settled waits until the manager has nothing left to do.
func (w *world) settled(ctx context.Context) error {
	return calm(ctx, "the manager to settle", settleWindow, func(ctx context.Context) (cpu float64, queued bool, err error) {
		metrics, err := w.metrics(ctx)
		return metrics.Sum("process_cpu_seconds_total"), metrics.Sum("workqueue_depth") > 0, err
	})
}

// rested waits until the API server and etcd have cleaned up after the writes.
func (w *world) rested(ctx context.Context) error {
	return calm(ctx, "the control plane to settle", restWindow, func(ctx context.Context) (cpu float64, queued bool, err error) {
		cpu, err = w.controlPlaneCPU(ctx)
		return cpu, false, err
	})
}

// calm waits for a window with almost no CPU time and with an empty queue at its end.
func calm(
	ctx context.Context, what string, window time.Duration, look func(context.Context) (cpu float64, queued bool, err error),
) error {
	before, _, err := look(ctx)
	if err != nil {
		return err
	}
	return await(ctx, what, func() (bool, error) {
		if err := pause(ctx, window); err != nil {
			return false, err
		}
		now, queued, err := look(ctx)
		busy := now - before
		before = now
		return busy < settledShare*window.Seconds() && !queued, err
	})
}

// controlPlaneCPU returns the CPU time of the API server and etcd, in seconds.
func (w *world) controlPlaneCPU(ctx context.Context) (float64, error) {
	const cpu = "process_cpu_seconds_total"
	apiServer, err := w.cp.APIServerMetric(ctx, cpu)
	if err != nil {
		return 0, err
	}
	etcd, err := w.cp.EtcdMetric(ctx, cpu)
	return apiServer + etcd, err
}

// resident returns the manager's resident set size, in MiB.
func (w *world) resident(ctx context.Context) (float64, error) {
	metrics, err := w.metrics(ctx)
	return metrics.Sum("process_resident_memory_bytes") / (1 << 20), err
}
