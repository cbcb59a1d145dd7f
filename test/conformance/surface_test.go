// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// surface is one way to use JobRun, in one namespace.
type surface interface {
	// trigger asks for a run; refused is nil if the trigger was accepted.
	trigger(request) (answer, *refusal)
	// triggerAll asks for all runs of a batch or none.
	triggerAll(...request) ([]answer, *refusal)
	// retrigger asks for what name was triggered for once more.
	retrigger(name string) (answer, *refusal)
	// outcome waits for the end of a trigger.
	outcome(name string) outcome
	// cancel asks for the end of a run.
	cancel(name string)
	// triggered is how often it was told that name became a run.
	triggered(name string) int
	// skipped are the triggers of which was told that name absorbed them.
	skipped(name string) []skippedTrigger
}

// request is what a trigger asks for.
type request struct {
	name        string
	job         string
	key         string
	skip        bool
	coalesce    v1alpha1.CoalescePolicy
	idempotency string
	input       string
	labels      map[string]string
	// script is what a Job executes; without one the run waits for a worker.
	script string
}

// answer is what a trigger is told.
type answer struct {
	name        string
	disposition v1alpha1.Disposition
	run         string
}

// refusal is how a trigger that is not accepted is told.
type refusal struct {
	conflict bool
	// pending is the run that a conflict is with.
	pending string
	// fields are those that are not valid.
	fields []string
	err    error
}

func (r *refusal) String() string {
	if r == nil {
		return "accepted"
	}
	return fmt.Sprintf("conflict %t with %q, fields %v: %v", r.conflict, r.pending, r.fields, r.err)
}

// outcome is how a trigger ended.
type outcome struct {
	Phase       string // Complete, Failed or Cancelled
	Disposition v1alpha1.Disposition
	Run         string
	Output      string
	Message     string
}

// skippedTrigger is what is told of an absorbed trigger.
type skippedTrigger struct {
	Receipt string
	Input   string
	Labels  map[string]string
}

// spec is what the request asks for as the API has it.
func (r request) spec() v1alpha1.JobRunSpec {
	spec := v1alpha1.JobRunSpec{
		JobName: r.job, ConcurrencyKey: r.key, IdempotencyKey: r.idempotency, Coalesce: r.coalesce,
	}
	if spec.JobName == "" {
		spec.JobName = "sync"
	}
	if r.skip {
		spec.Coalesce = v1alpha1.CoalesceSkip
	}
	if r.input != "" {
		spec.Input = &apiextensionsv1.JSON{Raw: []byte(r.input)}
	}
	if r.script != "" {
		spec.Template = template(r.script)
	}
	return spec
}
