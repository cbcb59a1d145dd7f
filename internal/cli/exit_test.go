// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// The run may go on of which no answer came.
func TestExitCodeWithoutAnAnswer(t *testing.T) {
	if code := exitCode(&jobrun.UnansweredError{Name: "a"}); code != exitTimeout {
		t.Errorf("exit code %d", code)
	}
}
