// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// listed is told all runs of a job without outcome.
func (w *Worker) listed(ctx context.Context, job string, runs []v1alpha1.JobRun) {
	present := map[runID]bool{}
	for i := range runs {
		present[idOf(&runs[i])] = true
		w.seen(ctx, &runs[i])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, run := range w.queue.runs {
		if run.Spec.JobName == job && !present[id] {
			w.forgetLocked(id)
		}
	}
	for id, h := range w.holds {
		if h.run.Spec.JobName == job && !present[id] {
			go w.findOut(ctx, h)
		}
	}
	w.wake()
}

// seen is told of a run without outcome that is new or has changed.
func (w *Worker) seen(ctx context.Context, run *v1alpha1.JobRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := idOf(run)
	w.queue.put(run)
	w.wake()
	if h := w.holds[id]; h != nil {
		h.look(run)
		return
	}
	w.giveBackIfLeft(ctx, run)
}

// giveBackIfLeft gives a run back that this identity holds and nobody executes.
func (w *Worker) giveBackIfLeft(ctx context.Context, run *v1alpha1.JobRun) {
	if !w.leftBehind(run) {
		return
	}
	w.reported[idOf(run)] = run.Status.Lease.Generation
	w.working.Go(func() { w.giveBackOrphan(ctx, run) })
}

// leftBehind reports whether this worker's identity holds a run that this
// process does not execute: an earlier process did, its own clock said that the
// lease was lost, or a claim was stored after it was given up. As the Lease is
// renewed, nothing else would end it, unless it is cancelled.
func (w *Worker) leftBehind(run *v1alpha1.JobRun) bool {
	l := run.Status.Lease
	return !w.stopping && !run.CancelRequested() && run.Status.Phase == v1alpha1.PhaseLeased && l != nil && l.HolderIdentity == w.o.Identity &&
		!w.queue.claiming[idOf(run)] && l.Generation > w.reported[idOf(run)]
}

// gone is told of a run that ended or was deleted.
func (w *Worker) gone(run *v1alpha1.JobRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := idOf(run)
	w.forgetLocked(id)
	w.wake()
	if h := w.holds[id]; h != nil {
		if run.CancelRequested() {
			h.end(ErrCancelled)
		} else {
			h.end(ErrLeaseLost)
		}
	}
}

func (w *Worker) forgetLocked(id runID) {
	w.queue.remove(id)
	delete(w.reported, id)
}

// findOut ends a hold of a run that is not listed any more, with the right cause.
func (w *Worker) findOut(ctx context.Context, h *hold) {
	ctx, cancel := context.WithTimeout(ctx, holder.CallTimeout)
	defer cancel()
	run := &v1alpha1.JobRun{}
	if err := w.api.Get(ctx, client.ObjectKeyFromObject(h.run), run); err == nil && run.CancelRequested() {
		h.end(ErrCancelled)
		return
	}
	h.end(ErrLeaseLost)
}
