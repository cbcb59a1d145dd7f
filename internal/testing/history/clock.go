// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"golang.org/x/sys/unix"
)

// Now returns the time of the machine's monotonic clock in nanoseconds. All processes of a machine share it,
// and it is never set.
func Now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // Every Unix has this clock.
	}
	return now.Nano()
}
