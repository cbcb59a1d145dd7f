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
	// planSeed keeps the plan apart from what the callers draw from the same seed.
	planSeed = 1 << 40
	// quietBefore is how long nothing is injected, and gapLeast and gapMost how long it is from one fault to the next,
	// unless the time is too short to inject each of them once.
	quietBefore = 2 * time.Second
	gapLeast    = 700 * time.Millisecond
	gapMost     = 2500 * time.Millisecond
)

// Injection is a fault that is injected at some time, for a while.
type Injection struct {
	At    time.Duration `json:"at"`
	Fault string        `json:"fault"`
	For   time.Duration `json:"for"`
	// Draw chooses whatever is to be chosen: which manager, which way.
	Draw uint64 `json:"draw"`
}

func (i Injection) String() string {
	return fmt.Sprintf("%6.1fs %s for %.1fs", i.At.Seconds(), i.Fault, i.For.Seconds())
}

// Plan draws what is injected when. Each fault is injected once before any is injected again, in an order of its own
// each time, and none more often than it bears.
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

// FaultNames lists the faults there are.
func FaultNames() string {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	return strings.Join(names, " ")
}

// ParseFaults understands "all", "none", and names with commas between them.
func ParseFaults(text string) ([]string, error) {
	switch text {
	case "none":
		return nil, nil
	case "all":
		return strings.Fields(FaultNames()), nil
	}
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if _, known := faultsByName[name]; !known {
			return nil, fmt.Errorf("there is no fault %q: there are %s, or all, none, each", name, FaultNames())
		}
		names = append(names, name)
	}
	return names, nil
}
