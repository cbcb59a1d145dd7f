// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
)

// batchErrors returns why a new JobRun cannot be a member of its batch, as far as the cache shows. The controller does not depend
// on it: a member that slips through counts like the others.
func (h *Handler) batchErrors(ctx context.Context, run *v1alpha1.JobRun) field.ErrorList {
	if run.Spec.Batch == nil {
		return nil
	}
	var found v1alpha1.JobRunList
	err := h.cached.List(ctx, &found, client.InNamespace(run.Namespace),
		client.MatchingFields{cache.FieldBatch: cache.BatchID(run.Spec.Batch.ID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("spec", "batch"), err)}
	}
	if err := refuseMember(run, found.Items); err != nil {
		return field.ErrorList{err}
	}
	return nil
}

// refuseMember returns why a new JobRun cannot be a member of its batch, or nil. stored are the JobRuns with the same id.
func refuseMember(run *v1alpha1.JobRun, stored []v1alpha1.JobRun) *field.Error {
	batch, path, members := run.Spec.Batch, field.NewPath("spec", "batch"), 0
	for i := range stored {
		other := &stored[i]
		switch {
		case other.Name == run.Name:
			continue // It is gone: the name was free.
		case other.Spec.Batch.Leader != batch.Leader:
			return field.Invalid(path.Child("id"), batch.ID, fmt.Sprintf(
				"JobRun %s has this id in the batch of %s; use each id for one batch only", other.Name, other.Spec.Batch.Leader))
		case run.LeadsBatch() && !other.AwaitsBatch():
			return field.Invalid(path.Child("id"), batch.ID, fmt.Sprintf(
				"JobRun %s had this id in an earlier batch; use each id for one batch only", other.Name))
		case other.Spec.Batch.Size != batch.Size:
			return field.Invalid(path.Child("size"), batch.Size, fmt.Sprintf(
				"JobRun %s says that the batch has %d members; all members have the same values", other.Name, other.Spec.Batch.Size))
		case other.Status.Batch != nil && other.Status.Batch.Decision == v1alpha1.BatchStarted:
			return field.Invalid(path.Child("size"), batch.Size, "the batch has started with all of its members")
		case other.AwaitsBatch() && !other.EndRequested():
			members++
		}
	}
	if members >= int(batch.Size) {
		return field.Invalid(path.Child("size"), batch.Size, "the batch has all of its members")
	}
	return nil
}
