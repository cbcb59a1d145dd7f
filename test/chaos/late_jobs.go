// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// longJobSeconds is how long the Job of the second run takes, so that the late create finds it unfinished.
	longJobSeconds = "3"
	// mostStall bounds how long a manager waits for the answer to a create that is held back.
	mostStall = 3 * time.Second
)

// lateJobs delays the creates of two Jobs past everything else, one of a run with a key and one of a run without.
func lateJobs(ctx context.Context, w *world, i Injection) error {
	stall := time.Duration(i.Draw % uint64(mostStall))
	var (
		telling      sync.WaitGroup
		keyed, alone error
	)
	telling.Go(func() {
		keyed = w.tell(ctx, i, func(ctx context.Context, a *author) bool { return a.lateJob(ctx, stall) })
	})
	telling.Go(func() {
		alone = w.tell(ctx, i, func(ctx context.Context, a *author) bool { return a.lateJobOfRunAlone(ctx, stall) })
	})
	telling.Wait()
	if keyed != nil {
		return keyed
	}
	return alone
}

// lateJob holds back the create of a run's Job. The run is deleted, and another run of the key executes. Then the create is
// sent.
func (a *author) lateJob(ctx context.Context, stall time.Duration) bool {
	first, next := a.run("late", jobByJob), a.run("next", jobByJob)
	first.Spec.Template, next.Spec.Template = jobTemplate(jobSeconds), jobTemplate(longJobSeconds)
	held, release := a.world.cluster.traffic.hold(first.Name, stall)
	defer release()
	if !a.begin(first) || !a.isTaken(ctx, held) || !a.begin(next) {
		return false
	}
	a.delete(first.Name)
	executes := func(ctx context.Context) bool { return a.hasJob(ctx, next) && a.isFree(ctx, held) }
	return a.await(ctx, executes) && a.isLate(ctx, held)
}

// lateJobOfRunAlone holds back the create of the Job of a run without a key, until the run is deleted.
func (a *author) lateJobOfRunAlone(ctx context.Context, stall time.Duration) bool {
	a.title += "-alone"
	run := a.run("late", jobByJob)
	run.Spec.ConcurrencyKey, run.Spec.Template = "", jobTemplate(jobSeconds)
	held, release := a.world.cluster.traffic.hold(run.Name, stall)
	defer release()
	if !a.begin(run) || !a.isTaken(ctx, held) {
		return false
	}
	a.delete(run.Name)
	return a.await(ctx, func(ctx context.Context) bool { return a.isGone(ctx, run.Name) && a.isFree(ctx, held) }) && a.isLate(ctx, held)
}

func (a *author) isGone(ctx context.Context, run string) bool {
	return apierrors.IsNotFound(a.world.cluster.api.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: run}, &v1alpha1.JobRun{}))
}

// isTaken waits until a gate has the create.
func (a *author) isTaken(ctx context.Context, h *held) bool {
	ctx, cancel := context.WithTimeout(ctx, storyPatience)
	defer cancel()
	select {
	case <-h.taken:
		return true
	case <-ctx.Done():
		return false
	}
}

// isFree reports whether no Job has the name of the one whose create is held back.
func (a *author) isFree(ctx context.Context, h *held) bool {
	name := types.NamespacedName{Namespace: a.namespace, Name: h.create.Job}
	return apierrors.IsNotFound(a.world.cluster.api.Get(ctx, name, &batchv1.Job{}))
}

// isLate sends the create. It reports whether the API server decided about it: it stored the Job, or refused it because of a
// conflict.
func (a *author) isLate(ctx context.Context, h *held) bool {
	code, err := h.send(ctx)
	return err == nil && (code == 201 || code == 409)
}
