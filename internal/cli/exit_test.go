// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// A run may go on although the trigger got no answer.
func TestExitCodeWithoutAnAnswer(t *testing.T) {
	if code := exitCode(&jobrun.UnansweredError{Name: "a"}); code != exitTimeout {
		t.Errorf("exit code %d", code)
	}
}
