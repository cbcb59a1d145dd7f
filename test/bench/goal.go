// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

// Kind is the kind of a row's value. It decides when a promise is broken.
type Kind string

const (
	// Count is a value that does not depend on the machine's speed. A median beyond the bound breaks the promise.
	Count Kind = "count"
	// Ratio is a ratio of two times, or a speed, on a machine that may do other work. The promise is broken only if every round misses
	// the bound.
	Ratio Kind = "ratio"
	// Stated is a value that is shown and not judged.
	Stated Kind = "stated"
)

// Goal is the goal of a row.
type Goal struct {
	Kind Kind `json:"kind"`
	// AtLeast or AtMost is the bound. A Stated row has no bound.
	AtLeast float64 `json:"atLeast,omitempty"`
	AtMost  float64 `json:"atMost,omitempty"`
	// Promised means that docs/performance.md promises the goal. Other goals may be missed.
	Promised bool `json:"promised"`
}

// Verdict is the result of a goal.
type Verdict string

// Verdicts. Only Broken fails the benchmark.
const (
	Reached Verdict = "reached"
	Missed  Verdict = "missed"
	Broken  Verdict = "BROKEN"
	None    Verdict = ""
)

func (g Goal) judge(s Summary) Verdict {
	if g.Kind == Stated {
		return None
	}
	best := s.Median
	if g.Kind == Ratio {
		best = g.best(s)
	}
	switch {
	case g.holds(s.Median):
		return Reached
	case g.Promised && !g.holds(best):
		return Broken
	default:
		return Missed
	}
}

func (g Goal) holds(value float64) bool {
	if g.AtLeast != 0 {
		return value >= g.AtLeast
	}
	return value <= g.AtMost
}

// best returns the value of the round that is best for the goal.
func (g Goal) best(s Summary) float64 {
	if g.AtLeast != 0 {
		return s.Max
	}
	return s.Min
}

func (g Goal) String() string {
	switch {
	case g.Kind == Stated:
		return "stated"
	case g.AtLeast != 0:
		return "at least " + short(g.AtLeast)
	default:
		return "at most " + short(g.AtMost)
	}
}
