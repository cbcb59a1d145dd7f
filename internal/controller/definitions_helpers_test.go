// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// requests is a queue that records when its one request is due.
type requests struct {
	definitionQueue
	now time.Time
	at  []time.Time
}

func (q *requests) Add(reconcile.Request) { q.add(q.now, 0) }

func (q *requests) AddAfter(_ reconcile.Request, after time.Duration) { q.add(q.now, after) }

func (q *requests) add(now time.Time, after time.Duration) { q.at = append(q.at, now.Add(after)) }

// due removes the due requests, and reports whether there were any.
func (q *requests) due(now time.Time) bool {
	before := len(q.at)
	q.at = slices.DeleteFunc(q.at, func(t time.Time) bool { return !t.After(now) })
	return len(q.at) < before
}

// checkSchedules is a check of a definition that reports wrong schedules.
func checkSchedules(d *v1alpha1.JobDefinition) (reason, message string) {
	for i, s := range d.Spec.Schedules {
		if errs := schedule.Validate(s, field.NewPath("spec", "schedules").Index(i)); len(errs) > 0 {
			return v1alpha1.ReasonInvalidSchedule, errs.ToAggregate().Error()
		}
	}
	return v1alpha1.ReasonDefinitionValid, ""
}

func rawInput(json string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(json)} }

// withoutVersion returns a copy that can be created.
func withoutVersion(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	run = run.DeepCopy()
	run.ResourceVersion = ""
	return run
}
