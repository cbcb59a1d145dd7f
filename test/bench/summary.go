// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Summary summarizes several rounds of one measurement.
type Summary struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"`
}

func summarize(rounds []float64) Summary {
	if len(rounds) == 0 {
		return Summary{}
	}
	return Summary{Median: quantile(rounds, 0.5), Min: slices.Min(rounds), Max: slices.Max(rounds), Rounds: rounds}
}

// measured reports whether every round has a number.
func (s Summary) measured() bool {
	return len(s.Rounds) > 0 && !slices.ContainsFunc(s.Rounds, func(value float64) bool {
		return math.IsNaN(value) || math.IsInf(value, 0)
	})
}

// ratios divides round by round, because both sides of a round ran under the same conditions.
func ratios(ours, theirs []float64) []float64 {
	return pairwise(ours, theirs, func(a, b float64) float64 { return a / b })
}

func differences(ours, theirs []float64) []float64 {
	return pairwise(ours, theirs, func(a, b float64) float64 { return a - b })
}

func pairwise(a, b []float64, combine func(a, b float64) float64) []float64 {
	combined := make([]float64, min(len(a), len(b)))
	for i := range combined {
		combined[i] = combine(a[i], b[i])
	}
	return combined
}

// quantile interpolates between the two nearest values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func seconds(durations []time.Duration) []float64 {
	values := make([]float64, len(durations))
	for i, d := range durations {
		values[i] = d.Seconds()
	}
	return values
}

func milliseconds(seconds float64) float64 { return seconds * 1000 }

// String returns the median, and the extremes if they differ from it.
func (s Summary) String() string {
	median, least, most := short(s.Median), short(s.Min), short(s.Max)
	if least == median && most == median {
		return median
	}
	return fmt.Sprintf("%s (%s to %s)", median, least, most)
}

// short formats a value with three significant digits, and with all digits before the point.
func short(value float64) string {
	decimals := 2
	switch abs := math.Abs(value); {
	case abs >= 100:
		decimals = 0
	case abs >= 10:
		decimals = 1
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}
