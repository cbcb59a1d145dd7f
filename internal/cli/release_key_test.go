// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// ownedBy returns the RunKey of idempotency key "d'1" of job sync.
func ownedBy(run string) *wrappers.RunKeyWrapper {
	key := wrappers.MakeIdempotencyKey("d'1").OwnerAs(run, "t-"+run)
	key.Namespace, key.Name, key.ObjectMeta.ResourceVersion = "default", v1alpha1.IdempotencyKeyName("sync", "d'1"), ""
	key.RunKey.Spec.JobName = "sync"
	return key
}

func TestReleaseKey(t *testing.T) {
	released := func(how string) string {
		return `idempotency key "d'1" of job sync released: run a ` + how + "; the next delivery executes\n"
	}
	for name, tc := range map[string]struct {
		stored         []client.Object
		code           int
		stdout, stderr string
		kept           bool
	}{
		"its run failed":        {stored: []client.Object{aRun("a", ending(failed)), ownedBy("a").Obj()}, stdout: released("failed")},
		"its run was cancelled": {stored: []client.Object{aRun("a", ending(cancelled)), ownedBy("a").Obj()}, stdout: released("was cancelled")},
		"its run is gone, and it remembers": {
			stored: []client.Object{ownedBy("a").Remembered(60).Outcome(v1alpha1.PhaseCompleted, wrappers.At(60)).Obj()},
			stdout: released("completed"),
		},
		"its run executes": {
			stored: []client.Object{aRun("a", leased), ownedBy("a").Obj()}, code: 1, kept: true,
			stderr: "~run a stands for idempotency key \"d'1\" and has not ended~`kubectl jobrun cancel a --wait` ends it",
		},
		"its run does not exist": {
			stored: []client.Object{ownedBy("a").Obj()}, code: 1, kept: true, stderr: "~is reserved for run a, which does not exist",
		},
		"another run has the name of its owner": {
			stored: []client.Object{aRun("a", ending(failed)), ownedBy("b").OwnerAs("a", "t-earlier").Obj()}, code: 1, kept: true,
			stderr: "~is reserved for run a, which does not exist",
		},
		"it is free": {code: 1, stderr: "~idempotency key \"d'1\" of job sync is not taken in namespace default"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run("release-key", "sync", "--idempotency-key", "d'1"), tc.code, tc.stdout, tc.stderr)
				name := types.NamespacedName{Namespace: "default", Name: v1alpha1.IdempotencyKeyName("sync", "d'1")}
				err := s.api.Get(context.Background(), name, &v1alpha1.RunKey{})
				if apierrors.IsNotFound(err) == tc.kept {
					t.Errorf("the RunKey: %v", err)
				}
			}, tc.stored...)
		})
	}
}

func TestReleaseKeyNeedsAKey(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("release-key", "sync"), 2, "", "~which key? Name it with --idempotency-key")
		s.want(s.run("release-key"), 2, "", "~`release-key JOB` takes one JOB, and none is given")
	})
}

// A key that another client changes after it was read is read again: it may have passed on to a run that executes.
func TestReleaseKeyThatChanges(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		hide := func() error {
			key := ownedBy("b").Obj()
			stored := &v1alpha1.RunKey{}
			if err := s.api.Get(context.Background(), client.ObjectKeyFromObject(key), stored); err != nil {
				return err
			}
			stored.Spec = key.Spec
			return s.api.Update(context.Background(), stored)
		}
		reads := 0
		s.hide = func() error {
			if reads++; reads == 2 { // The run; the key was read before.
				s.hide = nil
				return hide()
			}
			return nil
		}
		s.want(s.run("release-key", "sync", "--idempotency-key", "d'1"), 1, "", "~run b stands for idempotency key")
	}, aRun("a", ending(failed)), aRun("b", leased), ownedBy("a").Obj())
}

// The outcome of an earlier delivery comes with what to do to execute again.
func TestWaitForAnEarlierDelivery(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.admit = func(r *v1alpha1.JobRun) error {
			r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionIdempotent, "first"
			return nil
		}
		code := s.start("trigger", "sync", "--name", "a", "--idempotency-key", "d'1", "--wait")
		s.settle()
		s.update("a", func(status *v1alpha1.JobRunStatus) {
			failed(status)
			status.Phase = v1alpha1.PhaseIdempotent
			status.RunRef = &v1alpha1.ObjectReference{Name: "first", UID: "uid-first"}
		})
		s.want(<-code, 1, "~idempotent: run first stands for it", "~it broke~`kubectl jobrun release-key sync -n default --idempotency-key 'd'\\''1'`")
	})
}
