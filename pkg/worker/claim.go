package worker

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// claimAndExecute claims a run, executes it and reports what became of it.
func (w *Worker) claimAndExecute(ctx context.Context, run *v1alpha1.JobRun) {
	defer w.wake()
	h := w.claim(ctx, run)
	if h == nil {
		return
	}
	w.execute(h)
	h.ended()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.holds, idOf(run))
	if _, ok := w.queue.runs[idOf(run)]; ok {
		w.reported[idOf(run)] = h.generation
	}
}

// claim makes this worker the holder of a run; nil if it is not. The slot stays
// taken until that is known.
func (w *Worker) claim(ctx context.Context, run *v1alpha1.JobRun) *hold {
	err := w.lease.ensure(ctx)
	if err == nil && !w.stillWaits(run) {
		return nil // The Lease took its time.
	}
	sent, claimed := w.clock.Now(), run
	if err == nil {
		claimed, err = w.sendClaim(ctx, run, sent)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.queue.claiming, idOf(run))
	if err != nil {
		w.queue.refuse(run, w.clock.Now())
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			w.log.Warn("Cannot claim a run", "run", run.Name, "error", err)
		}
		return nil
	}
	h := newHold(ctx, w, claimed, sent)
	w.holds[idOf(run)] = h
	w.queue.won(run)
	switch seen := w.queue.runs[idOf(run)]; {
	case seen == nil:
		h.end(ErrLeaseLost) // It ended before the answer came.
	case seen.Status.Phase == v1alpha1.PhasePending && generationOf(seen) < h.generation:
		h.look(seen)
		w.queue.put(claimed)
	default:
		h.look(seen)
	}
	w.lease.wake()
	return h
}

// stillWaits reports whether the run is as it was; if not, its slot is free.
func (w *Worker) stillWaits(run *v1alpha1.JobRun) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seen := w.queue.runs[idOf(run)]; seen != nil && seen.ResourceVersion == run.ResourceVersion {
		return true
	}
	delete(w.queue.claiming, idOf(run))
	return false
}

// sendClaim claims a run until the answer is known, or the lease that it might
// have got is over. That several claims are sent is no harm: all have the
// version that was read, so at most one is stored.
func (w *Worker) sendClaim(ctx context.Context, run *v1alpha1.JobRun, sent time.Time) (*v1alpha1.JobRun, error) {
	claim := w.claimOf(run, sent)
	backoff := newBackoff()
	unanswered := false
	for {
		claimed := claim.DeepCopy()
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := w.api.Status().Update(call, claimed)
		cancel()
		switch {
		case err == nil:
			return claimed, nil
		case apierrors.IsConflict(err) && unanswered:
			if stored, known := w.storedClaim(ctx, claim); known {
				if stored == nil {
					return nil, err
				}
				return stored, nil
			}
		case refusedForGood(err), apierrors.IsConflict(err):
			return nil, err
		default:
			unanswered = true
		}
		if w.clock.Since(sent) > w.duration(run) || !w.pause(ctx, backoff.Step()) {
			return nil, err
		}
	}
}

// storedClaim is the run if it has this very claim.
func (w *Worker) storedClaim(ctx context.Context, claim *v1alpha1.JobRun) (stored *v1alpha1.JobRun, known bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	run := &v1alpha1.JobRun{}
	if err := w.api.Get(ctx, client.ObjectKeyFromObject(claim), run); err != nil {
		return nil, apierrors.IsNotFound(err)
	}
	mine, l := claim.Status.Lease, run.Status.Lease
	if run.UID == claim.UID && run.Status.Phase == v1alpha1.PhaseLeased && l != nil && l.HolderIdentity == mine.HolderIdentity &&
		l.Generation == mine.Generation && l.AcquireTime.Equal(mine.AcquireTime) {
		return run, true
	}
	return nil, true
}

func (w *Worker) claimOf(run *v1alpha1.JobRun, now time.Time) *v1alpha1.JobRun {
	claim := run.DeepCopy()
	stamp := metav1.NewMicroTime(now.Truncate(time.Microsecond))
	claim.Status.Phase = v1alpha1.PhaseLeased
	claim.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity:  w.o.Identity,
		Generation:      generationOf(run) + 1,
		AcquireTime:     &stamp,
		RenewTime:       &stamp,
		DurationSeconds: int32(w.duration(run) / time.Second),
	}
	return claim
}

// duration is how long the run's lease lives without renewal.
func (w *Worker) duration(run *v1alpha1.JobRun) time.Duration {
	if run.Spec.LeaseDurationSeconds > 0 {
		return time.Duration(run.Spec.LeaseDurationSeconds) * time.Second
	}
	return max(w.o.LeaseDuration.Truncate(time.Second), time.Second)
}

func generationOf(run *v1alpha1.JobRun) int64 {
	if run.Status.Lease == nil {
		return 0
	}
	return run.Status.Lease.Generation
}
