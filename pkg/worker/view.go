// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// listed takes the list of a job's runs without outcome.
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

// seen takes a run without outcome that is new or has changed.
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

// giveBackIfLeft gives back a run that is left behind.
func (w *Worker) giveBackIfLeft(ctx context.Context, run *v1alpha1.JobRun) {
	if !w.leftBehind(run) {
		return
	}
	w.reported[idOf(run)] = run.Status.Lease.Generation
	w.working.Go(func() { w.giveBackOrphan(ctx, run) })
}

// leftBehind reports whether this identity holds a run that this process does not execute: an earlier process claimed it,
// this process gave it up by its own clock, or a claim was stored after this process had given up. The worker's Lease
// keeps such a run alive, so only this worker, or a cancel, can end it.
func (w *Worker) leftBehind(run *v1alpha1.JobRun) bool {
	l := run.Status.Lease
	return !w.stopping && !run.CancelRequested() && run.Status.Phase == v1alpha1.PhaseLeased && l != nil && l.HolderIdentity == w.o.Identity &&
		!w.queue.claiming[idOf(run)] && l.Generation > w.reported[idOf(run)]
}

// gone takes a run that ended or was deleted.
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

// findOut reads a run that is no longer listed, and ends its hold with the right cause.
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
