// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import "testing"

func TestJudge(t *testing.T) {
	atLeast := Goal{Kind: Ratio, AtLeast: 0.9, Promised: true}
	atMost := Goal{Kind: Ratio, AtMost: 2, Promised: true}
	count := Goal{Kind: Count, AtMost: 3, Promised: true}
	hoped := Goal{Kind: Ratio, AtLeast: 0.9}
	tests := map[string]struct {
		goal   Goal
		rounds []float64
		want   Verdict
	}{
		"reached":                                  {atLeast, []float64{0.8, 0.95, 1}, Reached},
		"exactly reached":                          {count, []float64{3}, Reached},
		"missed, but for one round":                {atLeast, []float64{0.7, 0.8, 0.91}, Missed},
		"missed in every round":                    {atLeast, []float64{0.7, 0.8, 0.89}, Broken},
		"too slow in every round":                  {atMost, []float64{2.1, 2.2, 3}, Broken},
		"too slow, but for one round":              {atMost, []float64{1.9, 2.2, 3}, Missed},
		"a count does not depend on the best":      {count, []float64{3, 3.1, 3.1}, Broken},
		"a goal without a promise is never broken": {hoped, []float64{0.1, 0.2, 0.3}, Missed},
		"stated": {Goal{Kind: Stated}, []float64{7}, None},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.goal.judge(summarize(test.rounds)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
