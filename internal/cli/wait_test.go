// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestWait(t *testing.T) {
	pending := aRun("a", phase(v1alpha1.PhasePending))
	for name, tc := range map[string]struct {
		args           []string
		run            *v1alpha1.JobRun
		code           int
		stdout, stderr string
	}{
		"completed": {
			run:    aRun("a", ending(completed)),
			stdout: "jobrun.batch.jobrun.dev/a completed\noutput: {\"synced\":42}\n", stderr: "a: Completed\n",
		},
		"as -o name prints it": {
			args: []string{"jobrun.batch.jobrun.dev/a", "-o", "name"}, run: aRun("a", ending(completed)),
			stdout: "jobrun.batch.jobrun.dev/a\n", stderr: "a: Completed\n",
		},
		"wide": {
			args: []string{"a", "-o", "wide"}, run: aRun("a", ending(failed)), code: 1,
			stdout: "~NAME~ERROR~Failed~90s~it broke", stderr: "~error: run a failed",
		},
		"failed":    {run: aRun("a", ending(failed)), code: 1, stderr: "a: Failed: it broke\nerror: run a failed: it broke\n"},
		"cancelled": {run: aRun("a", ending(cancelled)), code: 1, stderr: "~error: run a was cancelled: cancelled on request\n"},
		"missing": {
			args: []string{"b"}, run: pending, code: 1,
			stderr: "~Error from server (NotFound): jobruns.batch.jobrun.dev \"b\" not found~`kubectl get jobruns` lists those",
		},
		"timeout": {
			args: []string{"a", "--timeout=5s"}, run: pending, code: 4,
			stderr: "a: Pending\nerror: timed out after 5s; run a goes on. To wait again: `kubectl jobrun wait a`\n",
		},
		"a bad name":   {args: []string{"Bad_Name"}, run: pending, code: 2, stderr: "~error: JobRun.batch.jobrun.dev~metadata.name"},
		"no name":      {args: []string{}, run: pending, code: 2, stderr: "~`wait NAME` takes one NAME, and none is given"},
		"two names":    {args: []string{"a", "b"}, run: pending, code: 2, stderr: "~`wait NAME` takes one NAME, and these are given: a b"},
		"another kind": {args: []string{"pod/a"}, run: pending, code: 2, stderr: "~\"pod/a\" is not a JobRun"},
		"nothing":      {args: []string{"jobrun/"}, run: pending, code: 2, stderr: "~not a JobRun name"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				args := tc.args
				if args == nil {
					args = []string{"a"}
				}
				s.want(s.run(append([]string{"wait"}, args...)...), tc.code, tc.stdout, tc.stderr)
			}, tc.run.DeepCopy())
		})
	}
}

func progress(current int64, message string) func(*v1alpha1.JobRunStatus) {
	return func(s *v1alpha1.JobRunStatus) {
		s.Progress = &v1alpha1.Progress{Generation: 1, Current: &current, Total: new(int64(10)), Message: message}
	}
}

func TestWaitTellsHowItGoes(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("wait", "third")
		s.settle()
		s.update("next", progress(3, "half\nway \x1b[31m"))
		s.settle()
		s.update("next", completed)
		s.update("third", func(st *v1alpha1.JobRunStatus) {
			completed(st)
			st.Phase = v1alpha1.PhaseCoalesced
		})
		s.want(<-code, 0, "jobrun.batch.jobrun.dev/third completed by run next\noutput: {\"synced\":42}\n",
			"~third: Coalesced, run next stands for it\n~next: Leased by job/next-1, generation 1\n~"+
				"next: Leased by job/next-1, generation 1, 3/10 half way ^[[31m\n")
	}, aRun("next", leased), aRun("third", receiptOf("next")))
}

func TestWaitOnATerminal(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.columns = 40
		code := s.start("wait", "a")
		s.settle()
		time.Sleep(2500 * time.Millisecond)
		s.update("a", progress(3, "a message that is longer than the terminal is wide"))
		s.settle()
		s.update("a", completed)
		s.want(<-code, 0, "jobrun.batch.jobrun.dev/a completed\noutput: {\"synced\":42}\n",
			"\r\x1b[Ka: Leased by job/a-1, generation 1 (0s)"+
				"\r\x1b[Ka: Leased by job/a-1, generation 1 (1s)"+
				"\r\x1b[Ka: Leased by job/a-1, generation 1 (2s)"+
				"\r\x1b[Ka: Leased by job/a-1, generation 1 (2s)"+
				"\r\x1b[Ka: Completed (2s)\r\x1b[K")
	}, aRun("a", leased))
}

func TestWaitIsInterrupted(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("wait", "third")
		s.settle()
		s.interrupt()
		s.want(<-code, 130, "", "~error: interrupted; run next, which stands for third, goes on. To wait again: `kubectl jobrun wait third`\n")
	}, aRun("next", leased), aRun("third", receiptOf("next")))
}
