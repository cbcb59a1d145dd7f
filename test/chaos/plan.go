// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	// planSeed makes the plan independent of what the callers draw from the same seed.
	planSeed = 1 << 40
	// quietBefore is the time before the first fault.
	quietBefore = 2 * time.Second
	// gapLeast and gapMost bound the time between two faults. In a short scenario the gaps are shorter, so that
	// each fault is injected once.
	gapLeast = 700 * time.Millisecond
	gapMost  = 2500 * time.Millisecond
)

// Injection is one fault or story of a plan.
type Injection struct {
	At    time.Duration `json:"at"`
	Fault string        `json:"fault"`
	For   time.Duration `json:"for"`
	// Draw is a random number for the choices of the fault, for example of a manager.
	Draw uint64 `json:"draw"`
}

func (i Injection) String() string {
	return fmt.Sprintf("%6.1fs %s for %.1fs", i.At.Seconds(), i.Fault, i.For.Seconds())
}

// Plan draws a plan of faults and stories, by their names. It injects each once, in random order, then each a second time
// in another order, and so on. It leaves out what was injected less than fault.every before.
func Plan(seed uint64, duration time.Duration, faults []string) []Injection {
	random := rand.New(rand.NewPCG(seed, planSeed))
	var plan []Injection
	var round []string
	next := map[string]time.Duration{} // when a fault may be injected again
	share := (duration - quietBefore) / time.Duration(len(faults)+1)
	for at := quietBefore; len(faults) > 0 && at < duration; at += between(random, min(gapLeast, share/2), min(gapMost, share)) {
		if len(round) == 0 {
			round = slices.Clone(faults)
			random.Shuffle(len(round), func(a, b int) { round[a], round[b] = round[b], round[a] })
		}
		f := faultsByName[round[0]]
		round = round[1:]
		i := Injection{At: at, Fault: f.name, For: between(random, f.least, f.most), Draw: random.Uint64()}
		if at >= next[f.name] {
			plan, next[f.name] = append(plan, i), at+f.every
		}
	}
	return plan
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// FaultNames returns the names of all faults, separated by spaces.
func FaultNames() string {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	return strings.Join(names, " ")
}

// ParseFaults parses "all", "none", or names separated by commas.
func ParseFaults(text string) ([]string, error) {
	switch text {
	case "none":
		return nil, nil
	case "all":
		return strings.Fields(FaultNames()), nil
	}
	var names []string
	all := strings.Fields(FaultNames())
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no fault %q: there are %s, or all, none, each", name, FaultNames())
		}
		names = append(names, name)
	}
	return names, nil
}
