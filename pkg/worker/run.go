// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Run is a run that this worker executes.
type Run struct {
	// Name of the JobRun, in Namespace.
	Name, Namespace string
	// JobName and ConcurrencyKey are the run's own.
	JobName, ConcurrencyKey string
	// Generation is the fencing token of the run: of two of its holders the later
	// one's is higher. Hand it to whatever can refuse a lower one.
	Generation int64
	// KeyVersion is the fencing token of the key, a decimal number: of two holders
	// of ConcurrencyKey the later one's is higher, whichever run they execute. It
	// is empty without ConcurrencyKey.
	KeyVersion string
	// Attempts is how many leases of the run expired before.
	Attempts int

	hold *hold
}

func newRun(h *hold) *Run {
	return &Run{
		Name: h.run.Name, Namespace: h.run.Namespace, JobName: h.run.Spec.JobName, ConcurrencyKey: h.run.Spec.ConcurrencyKey,
		Generation: h.generation, KeyVersion: h.run.Status.Lease.KeyVersion, Attempts: int(h.run.Status.Attempts), hold: h,
	}
}

// JobRun is a copy of the run as it was claimed.
func (r *Run) JobRun() *v1alpha1.JobRun { return r.hold.run.DeepCopy() }

// Input decodes the run's input. Without input it changes nothing.
func (r *Run) Input(into any) error {
	input := r.hold.run.Spec.Input
	if input == nil || len(input.Raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(input.Raw, into); err != nil {
		return fmt.Errorf("decode the input: %w", err)
	}
	return nil
}

// Progress reports how much is done. A total of 0 is unknown. Each call is one
// write to the API server and renews nothing. An error that is ErrLeaseLost
// means that the run is lost, and that the handler's context is done; another
// one that this was not stored, which the handler may ignore.
func (r *Run) Progress(ctx context.Context, current, total int64, message string) error {
	h := r.hold
	if cause := context.Cause(h.work); cause != nil {
		return cause
	}
	err := h.w.inTurn(ctx, func(ctx context.Context) error {
		_, err := holder.Report(r.Generation, current, total, message).Send(ctx, h.w.api, h.run)
		return err
	})
	err = jobrun.Classify(err)
	lost := errors.Is(err, jobrun.ErrLeaseLost) || errors.Is(err, jobrun.ErrNotFound)
	if !lost && errors.Is(err, jobrun.ErrInvalid) {
		mine, known := h.w.stillMine(h)
		lost = known && !mine
	}
	if lost {
		h.end(ErrLeaseLost)
		return fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}
