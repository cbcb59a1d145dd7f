// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// batchReads is how many JobRuns of a batch that has started are read at once.
const batchReads = 8

// BatchTrigger is Client.BatchTrigger, but for lost answers. The gateway names the JobRuns, so a lost answer is a *UnansweredError,
// which has no Name unless the gateway gave one. Once ctx has ended, the gateway goes on: the batch may start. The results come after
// further requests, which read the JobRuns, as for Trigger. Once one of them cannot be read, others may have nothing but their names,
// labels and specs, too.
func (g *GatewayClient) BatchTrigger(ctx context.Context, items []BatchItem) ([]TriggerResult, error) {
	sent, bodies, err := g.newBatch(items)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var answer struct {
		Items []gatewayAnswer `json:"items"`
	}
	if err := g.call(ctx, http.MethodPost, "/batches", nil, map[string]any{"items": bodies}, &answer); err != nil {
		return nil, batchError(err)
	}
	if len(answer.Items) != len(items) {
		return nil, &UnansweredError{err: fmt.Errorf("the gateway answered for %d items, not %d", len(answer.Items), len(items))}
	}
	results := make([]TriggerResult, len(items))
	for i, item := range answer.Items {
		if results[i], err = g.accepted(sent[i], item); err != nil {
			return nil, err
		}
	}
	g.completeAll(ctx, results, items)
	return results, nil
}

// completeAll reads the JobRuns of a batch that has started. It gives up after the first one that cannot be read, without an error,
// which would make the caller trigger the batch again.
func (g *GatewayClient) completeAll(ctx context.Context, results []TriggerResult, items []BatchItem) {
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(batchReads)
	for i := range results {
		reads.Go(func() error { return g.complete(ctx, &results[i], gather(items[i].Options)) })
	}
	_ = reads.Wait()
}

// newBatch returns the JobRuns of a batch, and what is sent of each. It validates all items.
func (g *GatewayClient) newBatch(items []BatchItem) (runs []*v1alpha1.JobRun, bodies []map[string]any, err error) {
	if err := checkBatchSize(len(items)); err != nil {
		return nil, nil, err
	}
	for i, item := range items {
		o := gather(item.Options)
		run := New(nil, g.namespace).newJobRun(item.Spec, o)
		body, err := gatewayBody(run, o)
		if err == nil && o.dryRun {
			err = errNoDryRun
		}
		if err != nil {
			return nil, nil, &BatchItemError{Index: i, err: err}
		}
		body["jobName"] = run.Spec.JobName
		runs, bodies = append(runs, run), append(bodies, body)
	}
	return runs, bodies, nil
}

// batchError returns the error for a batch that has not started, or was not answered.
func batchError(err error) error {
	var answer *apierrors.StatusError
	if !errors.As(err, &answer) || answer.ErrStatus.Details == nil {
		return triggerError(err)
	}
	details := answer.ErrStatus.Details
	for i, cause := range details.Causes {
		switch cause.Type {
		case v1alpha1.CauseBatchItem:
			var index int
			if _, err := fmt.Sscanf(cause.Field, "items[%d]", &index); err == nil {
				return &BatchItemError{Index: index, err: Classify(ofItem(answer, index, i))}
			}
		case v1alpha1.CauseBatchWithdrawn:
			return &BatchWithdrawnError{ID: cause.Message, Leader: details.Name}
		}
	}
	return triggerError(err)
}

// ofItem returns the answer to an item of a batch, as if it had been sent alone: without the cause that names the item.
func ofItem(answer *apierrors.StatusError, index, cause int) error {
	status := answer.ErrStatus.DeepCopy()
	status.Message = strings.TrimPrefix(status.Message, fmt.Sprintf("item %d of the batch, so nothing of it executes: ", index))
	status.Details.Causes = append(append([]metav1.StatusCause{}, status.Details.Causes[:cause]...), status.Details.Causes[cause+1:]...)
	return &apierrors.StatusError{ErrStatus: *status}
}
