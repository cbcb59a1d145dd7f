// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build chaos

package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/utils/clock"
)

// What the environment may change in a manager that is built for test/chaos.
const (
	// envClockAhead is how far the replica's clock is ahead.
	envClockAhead = "JOBRUN_CHAOS_CLOCK_AHEAD"
	// envRequestTimeout is how long a request may take at the API server, which the
	// suite starts with a shorter time-out: so reservations need a shorter grace.
	envRequestTimeout = "JOBRUN_CHAOS_REQUEST_TIMEOUT"
)

func init() {
	if ahead := durationFrom(envClockAhead); ahead != 0 {
		operatorClock = fastClock{ahead: ahead}
	}
	if timeout := durationFrom(envRequestTimeout); timeout != 0 {
		apiServerTimeout = timeout
	}
}

func durationFrom(name string) time.Duration {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return d
}

// fastClock is ahead of the others.
type fastClock struct {
	clock.RealClock
	ahead time.Duration
}

func (c fastClock) Now() time.Time { return c.RealClock.Now().Add(c.ahead) }

func (c fastClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
