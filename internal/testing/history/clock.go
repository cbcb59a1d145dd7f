// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"golang.org/x/sys/unix"
)

// Now reads the clock that all processes of a machine share and that nobody sets,
// in nanoseconds.
func Now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // Every Unix has this clock.
	}
	return now.Nano()
}
