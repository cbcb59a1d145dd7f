// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

// Kind says what a row's value is, and so when a promise about it is broken.
type Kind string

const (
	// Count is what a machine's speed has no part in: a median beyond its bound breaks the promise.
	Count Kind = "count"
	// Ratio is of two measurements of time, on a machine that does other things
	// too: only if every single round misses the bound is the promise broken.
	Ratio Kind = "ratio"
	// Stated is shown and not judged.
	Stated Kind = "stated"
)

// Goal is what a row should come to.
type Goal struct {
	Kind Kind `json:"kind"`
	// AtLeast or AtMost is the bound; a Stated row has none.
	AtLeast float64 `json:"atLeast,omitempty"`
	AtMost  float64 `json:"atMost,omitempty"`
	// Promised says that docs/performance.md promises it: the other goals may be missed.
	Promised bool `json:"promised"`
}

// Verdict is what a measurement says of a goal.
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

// best is the round that speaks for the goal.
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
