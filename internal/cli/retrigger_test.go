// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func original() *v1alpha1.JobRun {
	return aRun("a", ending(failed), func(r *v1alpha1.JobRun) {
		r.Spec.IdempotencyKey, r.Spec.Coalesce, r.Spec.Input = "i", v1alpha1.CoalesceSkip, jsonOf("[1]")
		r.Labels["env"], r.Labels[v1alpha1.LabelVeleroRestore] = "prod", "nightly"
	})
}

func TestRetrigger(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("retrigger", "jobrun/a", "--name=b", "--label=try=2"), 0, "jobrun.batch.jobrun.dev/b created\n", "")
		b := s.read("b")
		if b.Spec.IdempotencyKey != "" || b.Spec.Coalesce != "" || b.Spec.ConcurrencyKey != "acme" || string(b.Spec.Input.Raw) != "[1]" {
			t.Errorf("it was triggered with %+v", b.Spec)
		}
		if b.Labels["env"] != "prod" || b.Labels["try"] != "2" || b.Labels[v1alpha1.LabelVeleroRestore] != "" {
			t.Errorf("its labels are %v", b.Labels)
		}
	}, original())
}

func TestRetriggerOfAKeyThatIsWaitedFor(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.admit = conflictWith("next")
		s.want(s.run("retrigger", "a"), 3, "", "Error from server (Conflict): run next is pending\n"+
			"`kubectl jobrun wait next` waits for that run, `kubectl jobrun cancel next` cancels it.\n")
	}, original())
}

func TestRetriggerOfNothing(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("retrigger", "b"), 1, "", "~Error from server (NotFound)")
		s.want(s.run("retrigger"), 2, "", "~`retrigger NAME` takes one NAME, and none is given")
		s.want(s.run("retrigger", "a", "--label=x"), 2, "", "~--label x: write key=value")
	}, original())
}

func TestRetriggerAndWait(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		code := s.start("retrigger", "a", "--name=b", "--wait", "-o", "jsonpath={.status.output}")
		s.settle()
		s.update("b", completed)
		s.want(<-code, 0, `{"synced":42}`, "b: Completed\n")
	}, original())
}
