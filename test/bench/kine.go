// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// measureKine measures the latency of runs with a key on kine with SQLite, the store of k3s, beside that on etcd.
func measureKine(ctx context.Context, w *world, o Options) (results []Result, err error) {
	kine, err := newWorld(ctx, o, controlplane.StoreKine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kine.close()) }()
	var onKine, onEtcd []float64
	for round := range o.Rounds + 1 {
		side := func(on *world, all *[]float64) func() error {
			return func() error {
				median, err := on.keyedLatency(ctx, o.size(latencyTotal))
				*all = append(*all, median)
				return err
			}
		}
		if err := alternate(round, side(kine, &onKine), side(w, &onEtcd)); err != nil {
			return nil, err
		}
	}
	row := Result{
		Row: "latency-keyed-kine", What: "trigger to Job created, 4 in flight, p50, with a key, on kine with SQLite", Unit: "ms",
		Against: "on etcd", Goal: Goal{Kind: Ratio, AtMost: 3},
	}
	return []Result{compared(row, onKine[1:], onEtcd[1:], ratios)}, nil // The first round warms up.
}

// keyedLatency returns the median time from a create to its Job, in milliseconds. It leaves the runs where they are,
// because kine has no deletion by key.
func (w *world) keyedLatency(ctx context.Context, total int) (float64, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return 0, err
	}
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	result, err := loop{keyedRuns, latencyPlaces, total}.run(ctx, w.jobruns, ns)
	if err != nil {
		return 0, err
	}
	return milliseconds(quantile(seconds(result.starts), 0.5)), nil
}
