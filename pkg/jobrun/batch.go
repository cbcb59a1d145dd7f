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
	// withdrawPatience bounds the attempt to withdraw a batch at once. The
	// operator withdraws it later if it fails.
	withdrawPatience = 10 * time.Second
)

// BatchItem is one trigger of a batch.
type BatchItem struct {
	// Spec is what the trigger asks for. Its batch is ignored.
	Spec v1alpha1.JobRunSpec
	// Options change how its JobRun is created. DryRun is refused.
	Options []TriggerOption
}

// BatchTrigger triggers all of the items or none of them, 1 to 1000. The results
// are in the order of the items.
//
// What is atomic: whether the items execute. The items become JobRuns one after
// the other, in order, and none of them executes before all of them exist and
// the operator has recorded, once, that the batch has started. BatchTrigger
// returns without error only once it has. If an item is refused, if this process
// dies midway, or if the batch is not whole after a minute, nothing of it ever
// executes: its JobRuns end Cancelled, the keys they held are free, and triggers
// of others that they had absorbed become runs.
//
// What is not atomic: others see the JobRuns as they come, and until the batch is
// decided they hold their keys, so that triggers of others may be refused or
// absorbed because of a batch that is withdrawn later. Once a batch has started,
// each item has a fate of its own. The cancelled JobRuns of a batch that was
// withdrawn stay until somebody deletes them, or for their ttlSecondsAfterFinished.
//
// Items with the same key coalesce among themselves if they ask to: the first
// one is the run, those after it are absorbed by it. An item that does not ask
// to is refused then, and the batch with it.
//
// Errors: *BatchItemError (an item was refused, for the reason that Trigger would
// have given, or one before the last was not answered; nothing executes),
// *BatchWithdrawnError (nothing executes), or, if ctx ended or the API server went
// away before the last item was answered or the decision was seen,
// *UnansweredError with the name of the first item's JobRun, whose status.batch has
// the decision.
func (c *Client) BatchTrigger(ctx context.Context, items []BatchItem) ([]TriggerResult, error) {
	runs, err := c.newBatch(items)
	if err != nil {
		return nil, err
	}
	results := make([]TriggerResult, 0, len(runs))
	for i, run := range runs {
		stored, err := c.create(ctx, run, false)
		if err != nil {
			unanswered := errors.Is(err, ErrUnanswered)
			if i > 0 || unanswered {
				c.withdraw(ctx, runs[0])
			}
			if unanswered && i == len(runs)-1 {
				// The batch may be whole, and may have started before it could be withdrawn.
				return nil, &UnansweredError{Name: runs[0].Name, err: fmt.Errorf("trigger the last item of the batch: %w", err)}
			}
			return nil, &BatchItemError{Index: i, err: err}
		}
		results = append(results, resultOf(stored))
	}
	return results, c.decided(ctx, results[0].JobRun)
}

// newBatch is what a batch sends. Whatever can be refused without asking the API
// server is refused before anything is sent.
func (c *Client) newBatch(items []BatchItem) ([]*v1alpha1.JobRun, error) {
	if n := len(items); n < 1 || n > maxBatchSize {
		return nil, invalid("", field.ErrorList{field.Invalid(field.NewPath("items"), n, validation.InclusiveRangeError(1, maxBatchSize))})
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
			return nil, &BatchItemError{Index: i, err: errors.New("a batch cannot be dry-run")}
		}
		runs[i] = run
	}
	for _, run := range runs {
		run.Spec.Batch = &v1alpha1.BatchMember{ID: id, Size: int32(len(runs)), Leader: runs[0].Name}
	}
	return runs, nil
}

// withdraw cancels the leader of a batch, if it exists, for the name may be somebody
// else's, and is undecided: of a batch that has started it would take one item away. It
// is best effort: the operator withdraws a batch that does not become whole.
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

// decided waits until the leader's status says what became of its batch.
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

// decision is what the leader of a batch says of it; over is false while it says nothing.
func decision(leader *subject, p presence) (over bool, outcome error) {
	made := leader.seen.Status.Batch
	switch {
	case made != nil && made.Decision == v1alpha1.BatchStarted:
		return true, nil
	case made != nil || p == deleted || leader.end() != "":
		return true, &BatchWithdrawnError{ID: leader.seen.Spec.Batch.ID, Leader: leader.name}
	case p == vanished:
		return true, &UnansweredError{Name: leader.name, err: errors.New("it went unseen, and the decision about its batch with it")}
	default:
		return false, nil
	}
}

// BatchItemError is the refusal of one item of a batch. Nothing of the batch
// executes. It unwraps to what Trigger would have said of that item.
type BatchItemError struct {
	// Index is the item's, from 0.
	Index int

	err error
}

// Error says which item was refused, and why.
func (e *BatchItemError) Error() string {
	return fmt.Sprintf("item %d of the batch: %v", e.Index, e.err)
}

// Unwrap is what Trigger would have said.
func (e *BatchItemError) Unwrap() error { return e.err }

// BatchWithdrawnError is a batch that was withdrawn though all its items were
// accepted: it was not whole in time, or its first JobRun was cancelled or
// deleted. Nothing of it executes. It is ErrCancelled.
type BatchWithdrawnError struct {
	// ID is spec.batch.id of its JobRuns.
	ID string
	// Leader is the name of the first item's JobRun.
	Leader string
}

// Error says which batch was withdrawn.
func (e *BatchWithdrawnError) Error() string {
	return fmt.Sprintf("batch %s of %s was withdrawn: none of it executes", e.ID, e.Leader)
}

// Is is true of ErrCancelled.
func (e *BatchWithdrawnError) Is(target error) bool { return target == ErrCancelled }
