// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"time"
)

// minTTL is the least --job-ttl and --run-ttl. The name of a finished Job is a lock for that long, and a Job goes with its
// JobRun.
const minTTL = time.Minute

// ttl is a flag that holds a duration, or 0 for never. On the command line, never is -1.
type ttl time.Duration

var _ flag.Value = (*ttl)(nil)

// String implements flag.Value.
func (t *ttl) String() string {
	if *t == 0 {
		return "-1"
	}
	return time.Duration(*t).String()
}

// Set implements flag.Value.
func (t *ttl) Set(text string) error {
	if text == "-1" {
		*t = 0
		return nil
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < minTTL {
		return fmt.Errorf("it must be a duration of at least %s, such as 24h, or -1 for never", minTTL)
	}
	*t = ttl(duration)
	return nil
}
