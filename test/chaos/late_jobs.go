// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"net/http"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
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
	if !a.begin(first) || !a.await(ctx, first, held.isTaken) || !a.begin(next) || !a.end(first) {
		return false
	}
	executes := func(ctx context.Context) bool {
		ref := a.status(ctx, next).JobRef
		return ref != nil && !a.isGone(ctx, ref.Name, &batchv1.Job{}) && a.isGone(ctx, held.create.Job, &batchv1.Job{})
	}
	return a.await(ctx, next, executes) && held.isDecided(ctx)
}

// lateJobOfRunAlone holds back the create of the Job of a run without a key, until the run and its other Job are gone.
func (a *author) lateJobOfRunAlone(ctx context.Context, stall time.Duration) bool {
	a.title += "-alone"
	run := a.run("late", jobByJob)
	run.Spec.ConcurrencyKey, run.Spec.Template = "", jobTemplate(jobSeconds)
	held, release := a.world.cluster.traffic.hold(run.Name, stall)
	defer release()
	if !a.begin(run) || !a.await(ctx, run, held.isTaken) || !a.end(run) {
		return false
	}
	for !a.isGone(ctx, run.Name, run) || !a.isGone(ctx, held.create.Job, &batchv1.Job{}) {
		if ctx.Err() != nil {
			return false
		}
		pause(ctx, pollInterval)
	}
	return held.isDecided(ctx)
}

// isTaken reports whether a gate has the create.
func (h *held) isTaken(context.Context) bool {
	select {
	case <-h.taken:
		return true
	default:
		return false
	}
}

// isDecided sends the create. It reports whether the API server decided about it: it stored the Job, or refused it because
// of a conflict.
func (h *held) isDecided(ctx context.Context) bool {
	answer, err := h.gate.send(ctx, h.create)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusCreated || answer.StatusCode == http.StatusConflict
}
