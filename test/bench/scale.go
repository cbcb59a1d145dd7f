// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import "fmt"

// replicas is the number of managers that share the work in the arithmetic of scaleRows.
const replicas = 3

// scaleRows are the arithmetic of docs/performance.md, as cells: what the measured costs of a run with a Job and a key come
// to at several rates. There are none unless the row throughput was measured.
func scaleRows(results []Result) [][]string {
	writes, calls, busy, cpu := find(results, "writes-keyed"), find(results, "calls-keyed"), find(results, "busy-keyed"), find(results, "cpu-keyed")
	if writes == nil || calls == nil || busy == nil || cpu == nil {
		return nil
	}
	rows := [][]string{{"runs per second", "10", "100", "1,000"}}
	add := func(what string, perRun float64) {
		row := []string{what}
		for _, rate := range []float64{10, 100, 1000} {
			row = append(row, short(perRun*rate))
		}
		rows = append(rows, row)
	}
	add(fmt.Sprintf("writes to etcd per second (%s a run)", short(writes.Ours.Median)), writes.Ours.Median)
	add(fmt.Sprintf("... of which JobRun's (%s a run)", short(writes.Value.Median)), writes.Value.Median)
	add(fmt.Sprintf("requests of each of %d managers per second (%s a run)", replicas, short(calls.Value.Median)), calls.Value.Median/replicas)
	add(fmt.Sprintf("cores of each manager (%s ms a run)", short(cpu.Value.Median)), cpu.Value.Median/1000/replicas)
	add(fmt.Sprintf("busy reconcilers of each manager (%s ms a run)", short(busy.Value.Median)), busy.Value.Median/1000/replicas)
	return rows
}

func find(results []Result, row string) *Result {
	for i := range results {
		if results[i].Row == row {
			return &results[i]
		}
	}
	return nil
}
