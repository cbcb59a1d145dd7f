// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Retrigger triggers what a JobRun, a run or a receipt, was triggered for: the
// same spec and labels, but without idempotencyKey, cancel, coalesce and batch. So it
// is a run of its own, or a *ConflictError if a run waits for its key. Labels of
// the options are added. Errors: *NotFoundError, and those of Trigger.
func (c *Client) Retrigger(ctx context.Context, name string, opts ...TriggerOption) (TriggerResult, error) {
	original, err := c.Get(ctx, name)
	if err != nil {
		return TriggerResult{}, err
	}
	o := gather(opts)
	o.labels = merge(original.CallersLabels(), o.labels)
	return c.trigger(ctx, again(original.Spec), o)
}

// again is the spec of a fresh run.
func again(spec v1alpha1.JobRunSpec) v1alpha1.JobRunSpec {
	spec.IdempotencyKey = ""
	spec.Cancel = nil
	spec.Coalesce = ""
	spec.Admission = nil
	spec.Batch = nil
	return spec
}
