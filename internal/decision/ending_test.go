// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The reason of a Job's condition is its controller's, and need not be one of ours.
func TestResultOf(t *testing.T) {
	for reason, want := range map[string]string{
		"BackoffLimitExceeded": "BackoffLimitExceeded", "": "JobFailed", "pod-evicted": "JobFailed", strings.Repeat("a", 1025): "JobFailed",
	} {
		end := resultOf(&Execution{Job: makeJob(made("a").Obj(), 1).Failed(reason, "why").Obj()})
		if end.phase != v1alpha1.PhaseFailed || end.reason != want {
			t.Errorf("%.30s: %s, %s", reason, end.phase, end.reason)
		}
		if !strings.HasPrefix(end.message, reason) || !strings.HasSuffix(end.message, "why") {
			t.Errorf("%.30s: message %.60q", reason, end.message)
		}
	}
}

func TestJobFailureMessage(t *testing.T) {
	for name, tc := range map[string]struct{ reason, message, want string }{
		"both":      {"DeadlineExceeded", "too late", "DeadlineExceeded: too late"},
		"no reason": {"", "too late", "too late"},
		"no more":   {"DeadlineExceeded", "", "DeadlineExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := resultOf(&Execution{Job: makeJob(made("a").Obj(), 1).Failed(tc.reason, tc.message).Obj()}); got.message != tc.want {
				t.Errorf("message %q, want %q", got.message, tc.want)
			}
		})
	}
}
