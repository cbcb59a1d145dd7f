// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// A run may go on although the trigger got no answer.
func TestExitCodeWithoutAnAnswer(t *testing.T) {
	if code := exitCode(&jobrun.UnansweredError{Name: "a"}); code != exitTimeout {
		t.Errorf("exit code %d", code)
	}
}

// The API server may have accepted an earlier attempt of a trigger. Then the plugin does not call the trigger refused.
func TestExitCodeOfAReservedKeyWithoutAnAnswer(t *testing.T) {
	open := errors.Join(&jobrun.ReservedError{Run: "missing"}, &jobrun.UnansweredError{Name: "a"})
	if isReserved(open) {
		t.Error("the trigger would be sent again, under another name")
	}
	if code := exitCode(fmt.Errorf("%w: %w", &timeLimit{time.Second}, open)); code != exitTimeout {
		t.Errorf("exit code %d", code)
	}
}
