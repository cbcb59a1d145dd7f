// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import "context"

const (
	latencyPlaces, latencyTotal       = 4, 40
	throughputPlaces, throughputTotal = 20, 120
)

// measureLatency measures the time from a trigger to its Job, with few runs in flight.
func measureLatency(ctx context.Context, w *world, o Options) ([]Result, error) {
	done, err := w.executions(ctx, o.Rounds, latencyPlaces, o.size(latencyTotal), plain, unkeyedRuns, keyedRuns)
	if err != nil {
		return nil, err
	}
	toBegin := func(e execution) float64 { return e.toBegin }
	row := Result{Against: "batch/v1 Job to Pod created", Unit: "ms", Goal: Goal{Kind: Ratio, AtMost: 2.0}}
	var results []Result
	for _, load := range []workload{unkeyedRuns, keyedRuns} {
		row.Row, row.What = "latency", "trigger to Job created, 4 in flight, p50"
		if load.name == keyedRuns.name {
			row.Row, row.What = row.Row+"-keyed", row.What+", with a key"
		}
		results = append(results, compared(row, each(done[load.name], toBegin), each(done[plain.name], toBegin), ratios))
	}
	return results, nil
}

// measureThroughput measures throughput, writes and effort with many runs in flight.
func measureThroughput(ctx context.Context, w *world, o Options) ([]Result, error) {
	done, err := w.executions(ctx, o.Rounds, throughputPlaces, o.size(throughputTotal), plain, unkeyedRuns, keyedRuns, runsOfOne, runsOfTwo)
	if err != nil {
		return nil, err
	}
	jobs := done[plain.name]
	var results []Result
	for _, load := range []struct {
		workload
		row, by string
	}{{runsOfOne, "throughput-worker", "an external worker"}, {runsOfTwo, "throughput-workers", "two external workers"}} {
		results = append(results, compared(Result{
			Row: load.row, What: "runs completed by " + load.by + ", 20 in flight, without keys", Against: "batch/v1 Jobs",
			Unit: "/s", Goal: Goal{Kind: Ratio, AtLeast: 5},
		}, each(done[load.name], perSecond), each(jobs, perSecond), ratios))
	}
	results = append(results, alone(Result{
		Row: "writes-worker", What: "etcd writes per run of a worker, Events aside, 20 in flight, without keys", Unit: "writes", Goal: Goal{Kind: Stated},
	}, each(done[runsOfOne.name], writes)))
	for _, load := range []struct {
		workload
		suffix, with string
		writes       float64
		calls, busy  Goal
	}{
		{unkeyedRuns, "", ", without keys", 3, Goal{Kind: Stated}, Goal{Kind: Stated}},
		{keyedRuns, "-keyed", ", with a concurrencyKey", 6, Goal{Kind: Count, AtMost: 14}, Goal{Kind: Ratio, AtMost: 60}},
	} {
		runs := done[load.name]
		results = append(results,
			compared(Result{
				Row: "throughput" + load.suffix, What: "runs completed, 20 in flight" + load.with, Against: "batch/v1 Jobs",
				Unit: "/s", Goal: Goal{Kind: Ratio, AtLeast: 0.7},
			}, each(runs, perSecond), each(jobs, perSecond), ratios),
			compared(Result{
				Row: "writes" + load.suffix, What: "etcd writes per run, Events aside, 20 in flight" + load.with, Against: "batch/v1 Job",
				Unit: "writes", Goal: Goal{Kind: Count, AtMost: load.writes, Promised: true},
			}, each(runs, writes), each(jobs, writes), differences),
		)
		results = append(results, effortRows(load.suffix, load.with, load.calls, load.busy, runs)...)
	}
	return results, nil
}

// effortRows returns the rows for the manager's work per run.
func effortRows(suffix, with string, calls, busy Goal, runs []execution) []Result {
	row := func(row, what, unit string, goal Goal, figure func(effort) float64) Result {
		return alone(Result{Row: row + suffix, What: what + with, Unit: unit, Goal: goal},
			each(runs, func(e execution) float64 { return figure(e.manager) }))
	}
	stated := Goal{Kind: Stated}
	return []Result{
		row("reconciles", "reconciles per run", "", stated, func(e effort) float64 { return e.reconciles }),
		row("calls", "API calls per run, Events included", "", calls, func(e effort) float64 { return e.calls }),
		row("busy", "time of a reconciler per run", "ms", busy, func(e effort) float64 { return milliseconds(e.busy) }),
		row("cpu", "CPU time of the manager per run", "ms", stated, func(e effort) float64 { return milliseconds(e.cpu) }),
	}
}

func perSecond(e execution) float64 { return e.perSecond }

func writes(e execution) float64 { return e.writes }
