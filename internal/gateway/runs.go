// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// phases are the values of the parameter phase. An unknown one would have an empty list.
var phases = []string{
	"", string(v1alpha1.PhasePending), string(v1alpha1.PhaseLeased), string(v1alpha1.PhaseCompleted), string(v1alpha1.PhaseFailed),
	string(v1alpha1.PhaseCancelled), string(v1alpha1.PhaseCoalesced), string(v1alpha1.PhaseIdempotent),
}

// listRuns answers GET /v1/namespaces/{ns}/runs and GET /v1/runs. The list has runs and receipts, in the API server's order.
func (s *Server) listRuns(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	query, set := r.URL.Query(), fields.Set{}
	for parameter, path := range map[string]string{"jobName": "spec.jobName", "phase": "status.phase", "key": "spec.concurrencyKey"} {
		if query.Has(parameter) {
			set[path] = query.Get(parameter)
		}
	}
	if phase := query.Get("phase"); !slices.Contains(phases, phase) {
		return badRequest("phase must be one of %s, or empty, not %q", strings.Join(phases[1:], ", "), phase)
	}
	if len(set) > 0 {
		page.FieldSelector = set.AsSelector()
	}
	if page.LabelSelector, err = labels.Parse(query.Get("labels")); err != nil {
		return badRequest("labels is no label selector: %v", err)
	}
	return s.answerRead(w, r, listBytes, func(ctx context.Context) (any, error) {
		return s.readPage(ctx, &v1alpha1.JobRunList{}, "JobRun", page)
	})
}

// getRun answers GET /v1/namespaces/{ns}/runs/{run}.
func (s *Server) getRun(w http.ResponseWriter, r *http.Request) error {
	return s.answerRead(w, r, objectBytes, func(ctx context.Context) (any, error) {
		run, err := s.runs(r).Get(ctx, r.PathValue(pathRun))
		if err != nil {
			return nil, err
		}
		describe(run, "JobRun")
		return run, nil
	})
}

// describe completes an object of a typed client, and leaves out what only the API server needs.
func describe(object client.Object, kind string) {
	object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetManagedFields(nil)
}

// cancelRun answers POST /v1/namespaces/{ns}/runs/{run}/cancel.
func (s *Server) cancelRun(w http.ResponseWriter, r *http.Request) error {
	done, err := s.readJSON(w, r, maxEmptyBytes, &struct{}{})
	if err != nil {
		return err
	}
	defer done()
	if err := s.runs(r).Cancel(r.Context(), r.PathValue(pathRun)); err != nil {
		return err
	}
	return s.writeSuccess(w, r)
}

// deleteRun answers DELETE /v1/namespaces/{ns}/runs/{run}.
func (s *Server) deleteRun(w http.ResponseWriter, r *http.Request) error {
	if err := s.runs(r).Delete(r.Context(), r.PathValue(pathRun)); err != nil {
		return err
	}
	return s.writeSuccess(w, r)
}

// writeSuccess answers that something was done to the JobRun of the path.
func (s *Server) writeSuccess(w http.ResponseWriter, r *http.Request) error {
	return s.writeJSON(w, http.StatusOK, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusSuccess, Code: http.StatusOK,
		Details: &metav1.StatusDetails{Group: jobRuns.Group, Kind: jobRuns.Resource, Name: r.PathValue(pathRun)},
	})
}

// retriggerRun answers POST /v1/namespaces/{ns}/runs/{run}/retrigger. The path tells only that the caller may read the
// JobRun.
func (s *Server) retriggerRun(w http.ResponseWriter, r *http.Request) error {
	patience, leave, err := s.mayWait(r)
	if err != nil {
		return err
	}
	defer leave()
	done, err := s.readJSON(w, r, maxEmptyBytes, &struct{}{})
	if err != nil {
		return err
	}
	defer done()
	original, err := s.runs(r).Get(r.Context(), r.PathValue(pathRun))
	if err != nil {
		return err
	}
	if err := s.require(r.Context(), toTrigger(namespaceOf(r), original.Spec.JobName)...); err != nil {
		return err
	}
	if original.Spec.Template != nil {
		return templateRefused(original.Name)
	}
	// The options have no labels: RetriggerFor adds those of the original.
	triggered, err := s.create(r.Context(), func(ctx context.Context) (jobrun.TriggerResult, error) {
		return s.runs(r).RetriggerFor(ctx, original, triggerOptions(callerOf(ctx), nil)...)
	})
	if err != nil {
		return err
	}
	done() // a wait may be long
	return s.answerTrigger(w, r, triggered, patience)
}

// templateRefused is a 422. The gateway has no right to create Jobs, so it cannot trigger with a template.
func templateRefused(name string) error {
	errs := field.ErrorList{field.Forbidden(field.NewPath("spec", "template"),
		"the gateway retriggers no run with a template of its own; use kubectl jobrun retrigger")}
	return newInvalid(name, errs)
}
