// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// batchTimeout bounds a batch. The operator withdraws one that is not whole after 60 s.
const batchTimeout = 90 * time.Second

// BatchRequest is a batch: all its triggers take effect, or none.
type BatchRequest struct {
	Items BatchItems `json:"items" doc:"The triggers, 1 to 1000."`
}

// BatchItem is one trigger of a batch, and one line of a stream of triggers.
type BatchItem struct {
	JobName string `json:"jobName" crd:"spec.jobName"`
	TriggerRequest
}

// BatchAnswer is what became of a batch that has started.
type BatchAnswer struct {
	Items    []TriggerAnswer `json:"items" doc:"What became of the triggers, in the order of the request."`
	Warnings []string        `json:"warnings,omitempty" doc:"Warnings about all of the triggers."`
}

// needsBatch returns the right that the path of a batch tells. Each of its triggers needs that to trigger its job, too.
var needsBatch = inNamespace("create", jobRuns)

// batch answers POST /v1/namespaces/{ns}/batches: a JSON batch, or a stream of independent triggers.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get(idempotencyHeader) != "" {
		return badRequest("the header %s is for one trigger; give each item its idempotencyKey", idempotencyHeader)
	}
	if mediaType(r) == ndjsonType {
		return s.streamTriggers(w, r)
	}
	var request BatchRequest
	done, err := s.readJSON(w, r, maxBatchBytes, &request)
	if err != nil {
		return err
	}
	defer done()
	if err := request.Items.check(); err != nil {
		return err
	}
	items, jobs := make([]jobrun.BatchItem, len(request.Items)), sets.New[string]()
	for i, item := range request.Items {
		items[i] = jobrun.BatchItem{Spec: item.spec(item.JobName), Options: triggerOptions(callerOf(r.Context()), item.Labels)}
		jobs.Insert(item.JobName)
	}
	for _, job := range sets.List(jobs) {
		if err := s.requireTrigger(r.Context(), namespaceOf(r), job); err != nil {
			return err
		}
	}
	ctx, goneOn := s.untilCutShort(context.WithoutCancel(r.Context()))
	defer goneOn()
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	ctx, warnings := collecting(ctx)
	results, err := s.runs(r).BatchTrigger(ctx, items)
	if err != nil {
		s.logCause(requestIDOf(ctx), err)
		return batchError(err)
	}
	answer, code := BatchAnswer{Warnings: warnings.all()}, http.StatusOK
	for _, result := range results {
		code = max(code, codeOf(result.Disposition))
		answer.Items = append(answer.Items, answerOf(group.Answer{TriggerResult: result}))
	}
	return s.writeJSON(w, code, answer)
}

// requireTrigger is require for one trigger. A job that cannot exist is left to the validation of the trigger, so that no
// odd name fills the memory of the authorizer.
func (s *Server) requireTrigger(ctx context.Context, namespace, job string) error {
	rights := toTrigger(namespace, job)
	if len(validation.IsDNS1123Label(job)) > 0 {
		rights = rights[:1]
	}
	return s.require(ctx, rights...)
}

// batchError returns the error for a batch of which nothing executes. It names the item that was refused in a cause.
func batchError(err error) error {
	var (
		item      *jobrun.BatchItemError
		withdrawn *jobrun.BatchWithdrawnError
	)
	switch {
	case errors.As(err, &item):
		status := statusOf(err)
		status.Message = fmt.Sprintf("item %d of the batch, so nothing of it executes: %s", item.Index, status.Message)
		details := &metav1.StatusDetails{}
		if status.Details != nil {
			details = status.Details.DeepCopy()
		}
		details.Causes = append(details.Causes, metav1.StatusCause{
			Type: v1alpha1.CauseBatchItem, Field: fmt.Sprintf("items[%d]", item.Index), Message: "this item was refused",
		})
		status.Details = details
		return &apierrors.StatusError{ErrStatus: status}
	case errors.As(err, &withdrawn):
		answer := failed(http.StatusConflict, metav1.StatusReasonConflict, "%v", withdrawn)
		answer.ErrStatus.Details = &metav1.StatusDetails{
			Name: withdrawn.Leader, Group: v1alpha1.GroupVersion.Group, Kind: jobRuns.Resource,
			Causes: []metav1.StatusCause{{Type: v1alpha1.CauseBatchWithdrawn, Field: "items", Message: withdrawn.ID}},
		}
		return answer
	default:
		return err
	}
}
