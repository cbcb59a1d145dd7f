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

// These environment variables configure a manager that is built for test/chaos.
const (
	// envClockAhead is the duration by which the replica's clock is ahead.
	envClockAhead = "JOBRUN_CHAOS_CLOCK_AHEAD"
	// envRequestTimeout is the request timeout of the suite's API server. It is shorter than the default, so the suite
	// can use a shorter --idempotency-grace.
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

// fastClock is ahead of the real clock.
type fastClock struct {
	clock.RealClock
	ahead time.Duration
}

func (c fastClock) Now() time.Time { return c.RealClock.Now().Add(c.ahead) }

func (c fastClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
