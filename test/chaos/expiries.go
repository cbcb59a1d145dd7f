// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// expireAlone lets a lease expire while no other run waits: the run waits again.
func expireAlone(ctx context.Context, w *world, i Injection) error {
	return w.tell(ctx, i, func(ctx context.Context, a *author) bool {
		run := a.run("expires", jobByWorker)
		return a.expire(ctx, run, nil, func(ctx context.Context) bool {
			status := a.status(ctx, run)
			return status.Attempts > 0 && status.Phase == v1alpha1.PhaseCompleted
		})
	})
}

// expireBehind lets a lease expire while another run waits: the run fails.
func expireBehind(ctx context.Context, w *world, i Injection) error {
	return w.tell(ctx, i, func(ctx context.Context, a *author) bool {
		run := a.run("expires", jobByWorker)
		return a.expire(ctx, run, a.run("waits", jobByWorker), func(ctx context.Context) bool {
			status := a.status(ctx, run)
			return status.Attempts > 0 && status.Phase == v1alpha1.PhaseFailed
		})
	})
}

// expireInto lets a lease expire while a run waits that gives way: it becomes a receipt.
func expireInto(ctx context.Context, w *world, i Injection) error {
	return w.tell(ctx, i, func(ctx context.Context, a *author) bool {
		run, waits := a.run("expires", jobByWorker), a.run("waits", jobByWorker)
		run.Spec.OnLeaseExpired, waits.Spec.Coalesce = v1alpha1.OnLeaseExpiredRequeue, v1alpha1.CoalesceSkip
		return a.expire(ctx, run, waits, func(ctx context.Context) bool {
			status := a.status(ctx, waits)
			return status.Phase == v1alpha1.PhaseCoalesced && status.RunRef != nil && status.RunRef.Name == run.Name
		})
	})
}

// expire triggers a run, lets another one wait for its key, and cuts off the worker that executes the run. It reports
// whether the expiry ends as planned.
func (a *author) expire(ctx context.Context, run, waits *v1alpha1.JobRun, end func(context.Context) bool) bool {
	run.Spec.LeaseDurationSeconds = workerLease
	v, spare := a.world.crew.condemn(run.Name)
	defer spare()
	if !a.begin(run) || !a.await(ctx, run, v.isFound) || waits != nil && !a.begin(waits) {
		return false
	}
	return a.world.crew.bury(a.world.working, v.worker) == nil && a.await(ctx, run, end)
}
