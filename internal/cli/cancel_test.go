// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestCancel(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("cancel", "a"), 0, "jobrun.batch.jobrun.dev/a cancelling\n", "")
		if cancel := s.read("a").Spec.Cancel; cancel == nil || !*cancel {
			t.Error("it was not asked to end")
		}
		s.update("a", cancelled)
		s.want(s.run("cancel", "a"), 0, "jobrun.batch.jobrun.dev/a cancelled\n", "")
	}, aRun("a", leased))
}

func TestCancelOfWhatHasEnded(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("cancel", "a"), 0, "jobrun.batch.jobrun.dev/a not cancelled: it had completed already\n", "")
		s.want(s.run("cancel", "a", "-o", "jsonpath={.status.phase}"), 0, "Completed", "")
		s.want(s.run("cancel", "b"), 1, "", "~Error from server (NotFound)")
	}, aRun("a", ending(completed)))
}

func TestCancelAndWait(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("cancel", "a", "--wait")
		s.settle()
		s.update("a", cancelled)
		s.want(<-code, 0, "jobrun.batch.jobrun.dev/a cancelled\n",
			"a: Leased by job/a-1, generation 1\na: Cancelled: cancelled on request\n")
	}, aRun("a", leased))
}

func TestCancelTakesTooLong(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("cancel", "a", "--wait", "--timeout=1s"), 4, "",
			"~timed out after 1s; the cancellation of run a goes on. To wait again: `kubectl jobrun wait a`\n")
	}, aRun("a", phase(v1alpha1.PhasePending)))
}
