// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"net/url"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var webhookDown = apierrors.NewInternalError(errors.New(
	`failed calling webhook "mjobrun.batch.jobrun.dev": failed to call webhook: Post "https://x:443/y": connection refused`))

func TestInterruptCancelsWhatTheCommandCreated(t *testing.T) {
	idempotent := func(r *v1alpha1.JobRun) error {
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionIdempotent, "next"
		return nil
	}
	for name, tc := range map[string]struct {
		args      []string
		admit     func(*v1alpha1.JobRun) error
		during    func(*scene)
		cancelled bool
		stderr    string
	}{
		"a run": {
			args: []string{"--cancel-on-interrupt"}, cancelled: true, stderr: "~error: interrupted; run a is being cancelled\n",
		},
		"a coalesced receipt": {
			args: []string{"--cancel-on-interrupt"}, admit: coalescedBy("next"), cancelled: true,
			stderr: "~error: interrupted; receipt a is being cancelled. Run next, which stood for it, goes on\n",
		},
		"an idempotent receipt": {
			args: []string{"--cancel-on-interrupt"}, admit: idempotent, cancelled: true,
			stderr: "~error: interrupted; receipt a is being cancelled. Run next, which stood for it, goes on\n",
		},
		"not asked to": {stderr: "~error: interrupted; run a goes on"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(t *testing.T, s *scene) {
				s.admit = tc.admit
				code := s.start(append([]string{"trigger", "sync", "--key=acme", "--name=a", "--wait"}, tc.args...)...)
				s.settle()
				s.interrupt()
				s.want(<-code, 130, "~", tc.stderr)
				if got := s.read("a").CancelRequested(); got != tc.cancelled {
					t.Errorf("a is cancelled: %t, want %t", got, tc.cancelled)
				}
				if s.read("next").CancelRequested() {
					t.Error("the run of somebody else is cancelled")
				}
			}, aRun("next", phase(v1alpha1.PhasePending)))
		})
	}
}

// A command that is interrupted before the answer came looks whether its JobRun exists. It leaves a namesake alone.
func TestInterruptBeforeTheAnswer(t *testing.T) {
	lost := &url.Error{Op: "Post", URL: "x", Err: context.Canceled}
	t.Run("it exists", func(t *testing.T) {
		inScene(t, func(t *testing.T, s *scene) {
			s.admit = func(r *v1alpha1.JobRun) error {
				s.admit = nil
				if err := s.api.Create(context.Background(), r.DeepCopy()); err != nil {
					t.Error(err)
				}
				s.interrupt()
				return lost
			}
			s.want(s.run("trigger", "sync", "--name=a", "--wait", "--cancel-on-interrupt"), 130, "", "~interrupted; run a is being cancelled\n")
			if !s.read("a").CancelRequested() {
				t.Error("it is not cancelled")
			}
		})
	})
	t.Run("a namesake exists", func(t *testing.T) {
		inScene(t, func(t *testing.T, s *scene) {
			s.admit = func(*v1alpha1.JobRun) error { s.interrupt(); return lost }
			s.want(s.run("trigger", "sync", "--name=a", "--wait", "--cancel-on-interrupt"), 130, "",
				"~interrupted: it is not known whether JobRun a was created~If it is created after all, `kubectl jobrun cancel a` cancels it.\n")
			if s.read("a").CancelRequested() {
				t.Error("the run of somebody else is cancelled")
			}
		}, aRun("a", phase(v1alpha1.PhasePending)))
	})
}

func TestInterruptNeedsSomethingToWaitFor(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("trigger", "sync", "--cancel-on-interrupt"), 2, "", "~--cancel-on-interrupt needs --wait")
	})
}

func TestTriggerWhileTheWebhookIsDown(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.admit = func(*v1alpha1.JobRun) error { return webhookDown }
		s.want(s.run("trigger", "sync", "--name=a"), 1, "",
			"Error from server (InternalError): "+webhookDown.Error()+"\nNothing was created or changed. "+
				"Try again later: `kubectl -n jobrun-system get pods` shows whether JobRun is up.\n")
	})
}
