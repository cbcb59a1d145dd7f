// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"testing"
)

func TestScaleRows(t *testing.T) {
	results := []Result{
		compared(Result{Row: "writes-keyed"}, []float64{15}, []float64{9}, differences),
		alone(Result{Row: "calls-keyed"}, []float64{18}),
		alone(Result{Row: "busy-keyed"}, []float64{330}),
		alone(Result{Row: "cpu-keyed"}, []float64{12}),
	}
	want := [][]string{
		{"runs per second", "10", "100", "1,000"},
		{"writes to etcd per second (15.0 a run)", "150", "1500", "15000"},
		{"... of which JobRun's (6.00 a run)", "60.0", "600", "6000"},
		{"requests of each of 3 managers per second (18.0 a run)", "60.0", "600", "6000"},
		{"cores of each manager (12.0 ms a run)", "0.04", "0.40", "4.00"},
		{"busy reconcilers of each manager (330 ms a run)", "1.10", "11.0", "110"},
	}
	if got := scaleRows(results); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := scaleRows(results[1:]); got != nil {
		t.Errorf("without a measurement of writes: %v", got)
	}
}
