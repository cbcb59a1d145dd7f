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

// hold is a run that this worker holds the lease of.
type hold struct {
	w          *Worker
	run        *v1alpha1.JobRun
	generation int64
	duration   time.Duration
	claimedAt  time.Time

	// life lasts as long as the lease is not known to be lost; work is the
	// handler's, and ends with it, or earlier on request.
	life context.Context //nolint:containedctx // it is the lease
	lose context.CancelCauseFunc
	work context.Context //nolint:containedctx // it ends for the reasons that end the hold
	stop context.CancelCauseFunc

	mu sync.Mutex
	// deadline is when the lease is lost unless it is renewed. Once past it stays.
	deadline time.Time
	// reporting is that the handler has returned: what is seen of the run may
	// then be the report itself.
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

// ended frees what the hold has.
func (h *hold) ended() { h.lose(context.Canceled) }

// expire loses the lease when it was not renewed in time, by this process's own clock.
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

// renewed is told of a renewal that was sent at some time and is answered now.
func (h *hold) renewed(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deadline.After(h.w.clock.Now()) && sent.Add(h.duration).After(h.deadline) {
		h.deadline = sent.Add(h.duration)
	}
}

// look compares with a run as it is seen. What is older than the claim says nothing.
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

// end stops the handler of a run that ended, that somebody else holds, or that is
// about to be ended. A report under way goes on: what is seen may be its own work,
// and the API server refuses it otherwise.
func (h *hold) end(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.reporting {
		h.stop(cause)
	}
}

// report begins to report what the handler returned: from now on what is seen
// stops nothing. It returns why the handler was stopped, if it was.
func (h *hold) report() (stopped error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reporting = true
	return context.Cause(h.work)
}

// result is what a handler returned, the output as JSON.
type result struct {
	output json.RawMessage
	err    error
}

// execute calls the handler, waits for it, and reports. It returns whether the
// report is stored.
func (w *Worker) execute(h *hold) (reported bool) {
	w.mu.Lock()
	stopping := w.stopping
	w.mu.Unlock()
	log := w.log.With("run", h.run.Name, "generation", h.generation)
	if stopping {
		return h.report() == nil && w.giveBack(h)
	}
	if h.work.Err() != nil || h.left() <= 0 { // The claim may have taken longer than its lease.
		return false
	}
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

// call calls the handler, and makes a failure of a panic.
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
		r.output, err = encode(output)
	}
	r.err = err
}

func encode(output any) (json.RawMessage, error) {
	encoded, err := json.Marshal(output)
	if err != nil {
		return nil, fmt.Errorf("encode the output: %w", err)
	}
	return encoded, nil
}
