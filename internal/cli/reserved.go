// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// reservedPause is the shortest pause between two attempts to trigger a run whose key is reserved.
const reservedPause = time.Second

// untilNotReserved triggers again while the key is reserved for a run that does not exist, until ctx ends. It says so once.
func (p *plugin) untilNotReserved(ctx context.Context, trigger func() (jobrun.TriggerResult, error)) (jobrun.TriggerResult, error) {
	for told := false; ; told = true {
		result, err := trigger()
		if !isReserved(err) {
			return result, err
		}
		if !told {
			fmt.Fprintln(p.Streams.ErrOut, reservedLine(err))
		}
		select {
		case <-ctx.Done():
			return result, err
		case <-time.After(wait.Jitter(reservedPause, 0.5)):
		}
	}
}

// isReserved reports whether a trigger was refused because its key is reserved. A trigger that may have been accepted in an
// earlier attempt was not refused.
func isReserved(err error) bool {
	return errors.Is(err, jobrun.ErrReserved) && !errors.Is(err, jobrun.ErrUnanswered)
}

// reservedLine returns the line that says what the command waits for.
func reservedLine(err error) string {
	var reserved *jobrun.ReservedError
	errors.As(err, &reserved)
	line := fmt.Sprintf("The key is reserved for run %s, which does not exist: its create is under way or was refused. Trying again", reserved.Run)
	if !reserved.FreeBy.IsZero() {
		line += fmt.Sprintf("; the reservation ends by %s at the latest", reserved.FreeBy.Format(time.RFC3339))
	}
	return line + "."
}
