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
	// Name and Namespace are those of the JobRun.
	Name, Namespace string
	// JobName and ConcurrencyKey are those of the JobRun's spec.
	JobName, ConcurrencyKey string
	// Generation is the fencing token of the run: a later holder of this run has a higher one. Hand it to every system
	// that can refuse a lower one.
	Generation int64
	// KeyVersion is the fencing token of the key: a later holder of ConcurrencyKey has a higher one, whichever run it
	// executes. It is a decimal number of up to 20 digits, and empty without ConcurrencyKey.
	KeyVersion string
	// Attempts is how many leases of the run have expired.
	Attempts int

	hold *hold
}

func newRun(h *hold) *Run {
	return &Run{
		Name: h.run.Name, Namespace: h.run.Namespace, JobName: h.run.Spec.JobName, ConcurrencyKey: h.run.Spec.ConcurrencyKey,
		Generation: h.generation, KeyVersion: h.run.Status.Lease.KeyVersion, Attempts: int(h.run.Status.Attempts), hold: h,
	}
}

// JobRun returns a copy of the run as it was claimed.
func (r *Run) JobRun() *v1alpha1.JobRun { return r.hold.run.DeepCopy() }

// Input decodes the run's input, which is JSON, into the value that into points to. Without input it changes nothing.
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

// Progress reports how much is done, in units of the job's own. A total of 0 means unknown. A message of more than 1024
// characters is cut. Each call is one write to the API server. It does not renew the lease.
//
// After ErrLeaseLost the run is lost, and the handler's context is done. If the context is done for another reason,
// Progress returns its cause. After any other error the progress is not stored; the handler may ignore that.
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
