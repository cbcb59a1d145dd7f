package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// maxError is how long status.error may be, and a progress message.
const maxError = 1024

// op is one operation of a JSON Patch. Unlike a merge patch it keeps a null in an output.
type op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// refusedError is that the API server does not take what a holder reports.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// finish reports what a handler returned.
func (w *Worker) finish(h *hold, r result) {
	ops := completed(h, r.output)
	if r.err != nil {
		ops = failed(h, r.err.Error())
	}
	err := w.write(h, ops)
	var refused *refusedError
	if errors.As(err, &refused) {
		err = w.write(h, failed(h, "the output cannot be stored: "+refused.Error()))
	}
	if err != nil {
		w.log.Warn("What became of a run is not reported", "run", h.run.Name, "generation", h.generation, "error", err)
	}
}

func completed(h *hold, output json.RawMessage) []op {
	ops := ended(h, v1alpha1.PhaseCompleted)
	if len(output) > 0 && string(output) != "null" {
		ops = append(ops, op{"add", "/status/output", output})
	}
	return ops
}

func failed(h *hold, message string) []op {
	if message = oneLine(message); message == "" {
		message = "failed without a message"
	}
	return append(ended(h, v1alpha1.PhaseFailed), op{"add", "/status/error", message})
}

// ended is an end under the generation of the hold. The schema refuses it under any other.
func ended(h *hold, phase v1alpha1.Phase) []op {
	return []op{{"add", "/status/finishedGeneration", h.generation}, {"add", "/status/phase", phase}}
}

// giveBack lets a run wait for another worker: it fences this one.
func (w *Worker) giveBack(h *hold) {
	if err := w.write(h, givenBack(h.run, h.generation)); err != nil {
		w.log.Warn("A run was not given back", "run", h.run.Name, "generation", h.generation, "error", err)
	}
}

func givenBack(run *v1alpha1.JobRun, generation int64) []op {
	return []op{
		{"test", "/status/phase", v1alpha1.PhaseLeased},
		{"test", "/status/lease/generation", generation},
		{"replace", "/status/lease", v1alpha1.RunLease{Generation: generation + 1, KeyVersion: run.Status.Lease.KeyVersion}},
	}
}

// giveBackOrphan lets a run wait again that this identity holds and nobody executes.
func (w *Worker) giveBackOrphan(ctx context.Context, run *v1alpha1.JobRun) {
	w.log.Info("Give back a run that this identity was left with", "run", run.Name)
	backoff := newBackoff()
	for {
		err := w.lease.renew(ctx, callTimeout) // It tells if another process has the identity now.
		if errors.Is(err, ErrIdentityTaken) {
			return
		}
		if err == nil {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			err = w.patch(call, run, givenBack(run, generationOf(run)))
			cancel()
		}
		if err == nil || refusedForGood(err) || !w.pause(ctx, backoff.Step()) || w.isStopping() {
			return
		}
	}
}

func (w *Worker) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}

// write writes until it is stored, or until the lease is lost. Each operation
// may be repeated, and none is stored under another generation.
//
// Errors: ErrLeaseLost, or *refusedError.
func (w *Worker) write(h *hold, ops []op) error {
	backoff := newBackoff()
	for {
		ctx, cancel := context.WithTimeout(h.life, callTimeout)
		err := w.patch(ctx, h.run, ops)
		cancel()
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return fmt.Errorf("%w: %w", ErrLeaseLost, err)
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
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

// stillMine reads whether the run is held under the generation of the hold.
func (w *Worker) stillMine(h *hold) (mine, known bool) {
	ctx, cancel := context.WithTimeout(h.life, callTimeout)
	defer cancel()
	run := &v1alpha1.JobRun{}
	if err := w.api.Get(ctx, client.ObjectKeyFromObject(h.run), run); err != nil {
		return false, apierrors.IsNotFound(err)
	}
	return run.UID == h.run.UID && run.Status.Phase == v1alpha1.PhaseLeased && generationOf(run) == h.generation, true
}

// patch changes the status of this very run, never of another one of its name.
func (w *Worker) patch(ctx context.Context, run *v1alpha1.JobRun, ops []op) error {
	body, err := json.Marshal(append([]op{{"test", "/metadata/uid", run.UID}}, ops...))
	if err != nil {
		return err
	}
	target := &v1alpha1.JobRun{}
	target.Namespace, target.Name = run.Namespace, run.Name
	return w.api.Status().Patch(ctx, target, client.RawPatch(types.JSONPatchType, body))
}

// oneLine is a text for people as the status takes it.
func oneLine(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if utf8.RuneCountInString(text) > maxError {
		text = string([]rune(text)[:maxError-1]) + "…"
	}
	return text
}
