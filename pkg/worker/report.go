// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// refusedError means that the API server refused a report although the lease is still held.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// finish sends what a handler returned, and reports whether it is stored.
func (w *Worker) finish(h *hold, r result) bool {
	report := holder.Complete(h.generation, r.output)
	if r.err != nil {
		report = holder.Fail(h.generation, r.err.Error())
	}
	err := w.write(h, report)
	var refused *refusedError
	if errors.As(err, &refused) {
		err = w.write(h, holder.Fail(h.generation, "the output cannot be stored: "+refused.Error()))
	}
	if err != nil {
		w.log.Warn("Cannot report the result of a run", "run", h.run.Name, "generation", h.generation, "error", err)
	}
	return err == nil
}

// giveBack fences this worker, so that the run waits for another one. It reports whether that is stored.
func (w *Worker) giveBack(h *hold) bool {
	err := w.write(h, holder.GiveBack(h.run, h.generation))
	if err != nil {
		w.log.Warn("Cannot give a run back", "run", h.run.Name, "generation", h.generation, "error", err)
	}
	return err == nil
}

func (w *Worker) decline(h *hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue.decline(h.run, w.clock.Now())
}

// giveBackOrphan gives back a run that this identity holds and that no handler executes.
func (w *Worker) giveBackOrphan(ctx context.Context, run *v1alpha1.JobRun) {
	w.log.Info("Give back a run that this process does not execute", "run", run.Name)
	backoff := holder.NewBackoff()
	for {
		err := w.lease.renew(ctx, holder.CallTimeout) // It fails if another process has taken the identity.
		if errors.Is(err, ErrIdentityTaken) {
			return
		}
		done := false
		if err == nil {
			done = w.sendBack(ctx, run)
		}
		if done || !w.pause(ctx, backoff.Step()) || w.isStopping() {
			return
		}
	}
}

// sendBack gives a run back. It reports whether the run no longer belongs to this identity.
func (w *Worker) sendBack(ctx context.Context, run *v1alpha1.JobRun) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, holder.CallTimeout)
	defer cancel()
	_, err := holder.GiveBack(run, run.LeaseGeneration()).Send(ctx, w.api, run)
	return err == nil || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

func (w *Worker) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}

// write sends a patch until it is stored or the lease is lost. Errors: ErrLeaseLost, *refusedError, or another cause that
// ended the hold.
func (w *Worker) write(h *hold, p holder.Patch) error {
	backoff := holder.NewBackoff()
	for {
		err := w.inTurn(h.life, func(ctx context.Context) error {
			_, err := p.Send(ctx, w.api, h.run)
			return err
		})
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return fmt.Errorf("%w: %w", ErrLeaseLost, err)
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), holder.TooLarge(err):
			if mine, known := w.stillMine(h); known && mine {
				return &refusedError{err}
			} else if known {
				return fmt.Errorf("%w: %w", ErrLeaseLost, err)
			}
		}
		if h.life.Err() == nil {
			w.log.Warn("Cannot write the status of a run, will try again", "run", h.run.Name, "error", err)
		}
		if !w.pause(h.life, backoff.Step()) {
			return fmt.Errorf("%w: %w", context.Cause(h.life), err)
		}
	}
}

// inTurn makes a call once fewer than reportsInFlight others are in flight.
func (w *Worker) inTurn(ctx context.Context, call func(context.Context) error) error {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, holder.CallTimeout)
	defer cancel()
	return call(ctx)
}

// stillMine reads whether the run still has the generation of the hold. known is false if it could not be read.
func (w *Worker) stillMine(h *hold) (mine, known bool) {
	ctx, cancel := context.WithTimeout(h.life, holder.CallTimeout)
	defer cancel()
	run := &v1alpha1.JobRun{}
	if err := w.api.Get(ctx, client.ObjectKeyFromObject(h.run), run); err != nil {
		return false, apierrors.IsNotFound(err)
	}
	return run.UID == h.run.UID && run.Status.Phase == v1alpha1.PhaseLeased && run.LeaseGeneration() == h.generation, true
}
