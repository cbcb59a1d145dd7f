// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	maxBatchSize = 1000
	// withdrawPatience bounds the attempt to withdraw a batch at once. If it fails, the operator withdraws the batch later.
	withdrawPatience = 10 * time.Second
)

// BatchItem is one trigger of a batch.
type BatchItem struct {
	// Spec is the spec of the item's JobRun. Its batch and admission are ignored.
	Spec v1alpha1.JobRunSpec
	// Options change how the JobRun is created. DryRun is refused.
	Options []TriggerOption
}

// BatchTrigger triggers all of the items, 1 to 1000, or none of them. The results are in the order of the items.
//
// Execution is atomic. BatchTrigger creates the JobRuns one after the other, in order. None of them executes before
// all of them exist and the operator has recorded that the batch has started. BatchTrigger returns without error only
// after it has seen that record. The batch is withdrawn if an item is refused, if this process dies midway, or if some
// JobRuns still do not exist after a minute. Nothing of a withdrawn batch ever executes: its JobRuns end Cancelled,
// their keys are free, and the triggers of other callers that they had absorbed become runs.
//
// Visibility is not atomic. Other callers see each JobRun as soon as it exists. The JobRuns hold their keys while the
// batch is undecided, so triggers of other callers may be refused or absorbed because of a batch that is withdrawn
// later. Once the batch has started, each item may fail, expire or be cancelled alone. The JobRuns of a withdrawn batch
// stay until they are deleted or their ttlSecondsAfterFinished has passed.
//
// Items of one key coalesce if they ask to: the first one is the run and absorbs the others. An item that does not ask
// to coalesce is refused then, and the batch with it.
//
// Errors:
//   - *ValidationError: there is no item, or there are too many. Nothing was sent.
//   - *BatchItemError: an item was refused, or ctx ended or the API server went away before the last item was sent.
//     Nothing executes.
//   - *BatchWithdrawnError: the batch was withdrawn after all items were accepted. Nothing executes.
//   - *UnansweredError: ctx ended or the API server went away after the last item was sent. The error names the first
//     item's JobRun, whose status.batch has the decision.
func (c *Client) BatchTrigger(ctx context.Context, items []BatchItem) ([]TriggerResult, error) {
	runs, err := c.newBatch(items)
	if err != nil {
		return nil, err
	}
	results := make([]TriggerResult, 0, len(runs))
	for i, run := range runs {
		stored, err := c.create(ctx, run, gather(items[i].Options))
		if err != nil {
			unanswered := errors.Is(err, ErrUnanswered)
			if i > 0 || unanswered {
				c.withdraw(ctx, runs[0])
			}
			if unanswered && i == len(runs)-1 {
				// The batch may be whole, and may have started before withdraw.
				return nil, &UnansweredError{Name: runs[0].Name, err: fmt.Errorf("trigger the last item of the batch: %w", err)}
			}
			return nil, &BatchItemError{Index: i, err: err}
		}
		results = append(results, resultOf(stored))
	}
	return results, c.decided(ctx, results[0].JobRun)
}

var errNoDryRun = errors.New("a batch cannot be dry-run")

func checkBatchSize(n int) error {
	if n < 1 || n > maxBatchSize {
		return invalid("", field.ErrorList{field.Invalid(field.NewPath("items"), n, validation.InclusiveRangeError(1, maxBatchSize))})
	}
	return nil
}

// newBatch returns the JobRuns to create. It validates all items before the first create is sent.
func (c *Client) newBatch(items []BatchItem) ([]*v1alpha1.JobRun, error) {
	if err := checkBatchSize(len(items)); err != nil {
		return nil, err
	}
	id := string(uuid.NewUUID())
	runs := make([]*v1alpha1.JobRun, len(items))
	for i, item := range items {
		o := gather(item.Options)
		run := c.newJobRun(item.Spec, o)
		run.Spec.Batch = nil
		if err := c.validate(run); err != nil {
			return nil, &BatchItemError{Index: i, err: err}
		}
		if o.dryRun {
			return nil, &BatchItemError{Index: i, err: errNoDryRun}
		}
		runs[i] = run
	}
	for _, run := range runs {
		run.Spec.Batch = &v1alpha1.BatchMember{ID: id, Size: int32(len(runs)), Leader: runs[0].Name}
	}
	return runs, nil
}

// withdraw cancels the leader of an undecided batch. It leaves another caller's JobRun of that name alone, and a batch
// that has started, which would only lose one item. Errors are ignored: the operator withdraws a batch that does not
// become whole.
func (c *Client) withdraw(ctx context.Context, leader *v1alpha1.JobRun) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawPatience)
	defer cancel()
	for {
		stored, err := c.Get(ctx, leader.Name)
		if err != nil || !sameTrigger(stored, leader) || stored.Status.Batch != nil {
			return
		}
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"resourceVersion":%q},"spec":{"cancel":true}}`, stored.UID, stored.ResourceVersion)
		err = c.api.Patch(ctx, c.object(leader.Name), client.RawPatch(types.MergePatchType, patch))
		if !apierrors.IsConflict(err) {
			return
		}
	}
}

// decided waits for the decision about the batch in the leader's status.
func (c *Client) decided(ctx context.Context, created *v1alpha1.JobRun) error {
	leader := subjectOf(created)
	if over, outcome := decision(leader, present); over {
		return outcome
	}
	feed := c.newFeed(leader.scope())
	feed.version = leader.version()
	var outcome error
	err := feed.follow(ctx, func(ch change) bool {
		var over bool
		over, outcome = decision(leader, leader.take(ch))
		return !over
	})
	if err != nil {
		return &UnansweredError{Name: created.Name, err: fmt.Errorf("wait for the decision about the batch: %w", err)}
	}
	return outcome
}

// decision reports whether the leader's state decides its batch, and returns an error unless the batch has started.
func decision(leader *subject, p presence) (over bool, outcome error) {
	made := leader.seen.Status.Batch
	switch {
	case made != nil && made.Decision == v1alpha1.BatchStarted:
		return true, nil
	case made != nil || p == deleted || leader.end() != "":
		return true, &BatchWithdrawnError{ID: leader.seen.Spec.Batch.ID, Leader: leader.name}
	case p == vanished:
		return true, &UnansweredError{Name: leader.name, err: errors.New("it is gone and the decision about its batch was not seen")}
	default:
		return false, nil
	}
}

// BatchItemError means that an item of a batch was refused or not answered. Nothing of the batch executes. It unwraps
// to the error that Trigger returns for such an item.
type BatchItemError struct {
	// Index is the index of the item, from 0.
	Index int

	err error
}

func (e *BatchItemError) Error() string {
	return fmt.Sprintf("item %d of the batch: %v", e.Index, e.err)
}

func (e *BatchItemError) Unwrap() error { return e.err }

// BatchWithdrawnError means that a batch was withdrawn although all its items were accepted: it was not whole in time,
// or its first JobRun was cancelled or deleted. Nothing of it executes. errors.Is matches it with ErrCancelled.
type BatchWithdrawnError struct {
	// ID is spec.batch.id of the JobRuns.
	ID string
	// Leader is the name of the first item's JobRun.
	Leader string
}

func (e *BatchWithdrawnError) Error() string {
	return fmt.Sprintf("batch %s of %s was withdrawn: none of it executes", e.ID, e.Leader)
}

// Is reports whether target is ErrCancelled.
func (e *BatchWithdrawnError) Is(target error) bool { return target == ErrCancelled }
