// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"testing"
)

func TestSummarize(t *testing.T) {
	s := summarize([]float64{5, 1, 3, 2})
	if s.Median != 2.5 || s.Min != 1 || s.Max != 5 {
		t.Errorf("got %+v", s)
	}
	if !s.measured() {
		t.Error("there is a number for every round")
	}
	for _, rounds := range [][]float64{nil, ratios([]float64{1, 0}, []float64{1, 0}), ratios([]float64{1}, []float64{0})} {
		if summarize(rounds).measured() {
			t.Errorf("%v are no measurements", rounds)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := make([]float64, 101)
	for i := range values {
		values[i] = float64(100 - i)
	}
	for q, want := range map[float64]float64{0: 0, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g: got %g, want %g", q, got, want)
		}
	}
}

func TestRatiosAreOfRounds(t *testing.T) {
	if got := ratios([]float64{1, 10}, []float64{2, 40}); !slices.Equal(got, []float64{0.5, 0.25}) {
		t.Errorf("got %v", got)
	}
}

func TestSummaryString(t *testing.T) {
	for want, s := range map[string]Summary{
		"0.95 (0.90 to 1.00)": {Median: 0.951, Min: 0.9, Max: 1},
		"3.00":                {Median: 3, Min: 3, Max: 3.001},
		"412 (98.0 to 1234)":  {Median: 412.3, Min: 98, Max: 1234.4},
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
