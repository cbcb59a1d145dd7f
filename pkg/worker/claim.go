// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// claimAndExecute claims a run, executes it and reports what became of it.
func (w *Worker) claimAndExecute(ctx context.Context, run *v1alpha1.JobRun) {
	defer w.wake()
	h := w.claim(ctx, run)
	if h == nil {
		return
	}
	reported := w.execute(h)
	h.ended()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.holds, idOf(run))
	delete(w.queue.executing, idOf(run))
	switch seen := w.queue.runs[idOf(run)]; {
	case seen == nil:
	case reported:
		w.reported[idOf(run)] = h.generation
	default:
		w.giveBackIfLeft(ctx, seen) // The worker's Lease, renewed for its other runs, would keep this one alive.
	}
}

// claim claims a run and returns the hold, or nil if the claim failed. It keeps the run's slot until that is known.
func (w *Worker) claim(ctx context.Context, run *v1alpha1.JobRun) *hold {
	sent := w.clock.Now()
	claimed, err := holder.Claim(ctx, w.api, w.clock, holder.ClaimOf(run, w.o.Identity, w.duration(run), sent))
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.queue.claiming, idOf(run))
	if err != nil {
		w.queue.refuse(run, w.clock.Now())
		if seen := w.queue.runs[idOf(run)]; seen != nil {
			w.giveBackIfLeft(ctx, seen) // The claim may be stored, and only its answer lost.
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			w.log.Warn("Cannot claim a run", "run", run.Name, "error", err)
		}
		return nil
	}
	h := newHold(ctx, w, claimed, sent)
	w.holds[idOf(run)] = h
	w.queue.executing[idOf(run)] = keyOfRun(run)
	w.queue.won(run)
	switch seen := w.queue.runs[idOf(run)]; {
	case seen == nil:
		h.end(ErrLeaseLost) // The run ended before the answer came.
	case !seen.HasEnded() && seen.Status.Phase != v1alpha1.PhaseLeased && seen.LeaseGeneration() < h.generation:
		h.look(seen)
		w.queue.put(claimed)
	default:
		h.look(seen)
	}
	w.lease.wake()
	return h
}

func (w *Worker) duration(run *v1alpha1.JobRun) time.Duration {
	return holder.Duration(run, w.o.LeaseDuration)
}
