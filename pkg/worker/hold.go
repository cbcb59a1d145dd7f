// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// hold is this worker's hold on the lease of a run.
type hold struct {
	w          *Worker
	run        *v1alpha1.JobRun
	generation int64
	duration   time.Duration
	claimedAt  time.Time

	// life ends when the lease is known to be lost. work is the context of the handler. It ends with life, or earlier
	// when the handler should stop.
	life context.Context //nolint:containedctx // it is the lease
	lose context.CancelCauseFunc
	work context.Context //nolint:containedctx // it ends for the reasons that end the hold
	stop context.CancelCauseFunc

	mu sync.Mutex
	// deadline is when the lease is lost unless it is renewed. A renewal after the deadline does not move it.
	deadline time.Time
	// reporting means that the handler has returned. A change of the run may then be the report itself.
	reporting bool
}

func newHold(ctx context.Context, w *Worker, run *v1alpha1.JobRun, sent time.Time) *hold {
	h := &hold{w: w, run: run, generation: run.LeaseGeneration(), duration: w.duration(run), claimedAt: sent}
	h.deadline = sent.Add(h.duration)
	h.life, h.lose = context.WithCancelCause(ctx)
	h.work, h.stop = context.WithCancelCause(h.life)
	go h.expire()
	return h
}

// ended frees the contexts of the hold.
func (h *hold) ended() { h.lose(context.Canceled) }

// expire ends life when the deadline passes by this process's own clock.
func (h *hold) expire() {
	for h.w.pause(h.life, h.left()) {
		if h.left() <= 0 {
			h.lose(ErrLeaseLost)
		}
	}
}

func (h *hold) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline.Sub(h.w.clock.Now())
}

// renewed moves the deadline after a renewal that was sent at the given time and succeeded.
func (h *hold) renewed(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deadline.After(h.w.clock.Now()) && sent.Add(h.duration).After(h.deadline) {
		h.deadline = sent.Add(h.duration)
	}
}

// look stops the handler if the state of the run shows that it should stop. It ignores a state older than the claim.
func (h *hold) look(run *v1alpha1.JobRun) {
	generation := run.LeaseGeneration()
	switch {
	case run.EndRequested():
		h.end(ErrCancelled)
	case generation > h.generation:
		h.end(ErrLeaseLost)
	case generation < h.generation:
	case run.Status.Phase != v1alpha1.PhaseLeased, run.Status.Lease.HolderIdentity != h.w.o.Identity:
		h.end(ErrLeaseLost)
	}
}

// end stops the handler. It does not stop a report: the change that was seen may be that report, and if it is not, the API
// server refuses the report.
func (h *hold) end(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.reporting {
		h.stop(cause)
	}
}

// report marks the start of the report: from now on, end does nothing. It returns why the handler was stopped, if it was.
func (h *hold) report() (stopped error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reporting = true
	return context.Cause(h.work)
}

// result is what a handler returned, with the output as JSON.
type result struct {
	output json.RawMessage
	err    error
}

// execute calls the handler, waits until it returns, and reports the result or gives the run back. It reports whether
// that is stored.
func (w *Worker) execute(h *hold) (reported bool) {
	if w.isStopping() {
		return h.report() == nil && w.giveBack(h)
	}
	if h.work.Err() != nil || h.left() <= 0 { // The lease may have ended before the claim was answered.
		return false
	}
	log := w.log.With("run", h.run.Name, "generation", h.generation)
	log.Debug("Execute a run")
	done := make(chan result, 1)
	go w.call(h, done)
	r := <-done
	stopped := h.report()
	switch {
	case stopped != nil && !errors.Is(stopped, ErrShutdown):
		log.Info("The run was ended or lost", "cause", stopped)
		return false
	case errors.Is(r.err, ErrGiveBack):
		w.decline(h)
		return w.giveBack(h)
	case stopped != nil && r.err != nil:
		return w.giveBack(h)
	default:
		return w.finish(h, r)
	}
}

// call calls the handler and turns a panic into an error.
func (w *Worker) call(h *hold, done chan<- result) {
	r := result{err: errors.New("the handler ended its goroutine")}
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("A handler panicked", "run", h.run.Name, "panic", p, "stack", string(debug.Stack()))
			r = result{err: fmt.Errorf("panic: %v", p)}
		}
		done <- r
	}()
	output, err := w.handlers[h.run.Spec.JobName](h.work, newRun(h))
	if err == nil {
		if r.output, err = json.Marshal(output); err != nil {
			err = fmt.Errorf("encode the output: %w", err)
		}
	}
	r.err = err
}
