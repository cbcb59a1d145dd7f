// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// surface is one way to use JobRun, in one namespace.
type surface interface {
	// as returns the same way in the same namespace, with another client.
	as(client.WithWatch) surface
	// trigger sends a trigger. The refusal is nil if the trigger was accepted.
	trigger(request) (answer, *refusal)
	// triggerAll sends a batch.
	triggerAll(...request) ([]answer, *refusal)
	// retrigger sends the trigger of a JobRun again.
	retrigger(name string) (answer, *refusal)
	// outcome waits for the outcome of a trigger.
	outcome(name string) outcome
	// cancel cancels a run.
	cancel(name string)
	// triggered returns the number of events that say that the JobRun became a run.
	triggered(name string) int
	// skipped returns the triggers that the run absorbed according to its events.
	skipped(name string) []skippedTrigger
}

// request is a trigger.
type request struct {
	name        string
	job         string
	key         string
	skip        bool
	coalesce    v1alpha1.CoalescePolicy
	idempotency string
	input       string
	labels      map[string]string
	attempts    int32
	// script is the script of the Job. Without one the run waits for a worker.
	script string
}

// answer is the answer to an accepted trigger.
type answer struct {
	name        string
	disposition v1alpha1.Disposition
	run         string
}

// refusal is the answer to a refused trigger.
type refusal struct {
	conflict bool
	// forbidden is true if the user lacks a right.
	forbidden bool
	// pending is the pending run that a conflict names.
	pending string
	// fields are the invalid fields.
	fields []string
	err    error
}

func (r *refusal) String() string {
	if r == nil {
		return "accepted"
	}
	return fmt.Sprintf("conflict %t with %q, forbidden %t, fields %v: %v", r.conflict, r.pending, r.forbidden, r.fields, r.err)
}

// outcome is how a trigger ended.
type outcome struct {
	Phase       string // Complete, Failed or Cancelled
	Disposition v1alpha1.Disposition
	Run         string
	Output      string
	Message     string
}

// skippedTrigger is an absorbed trigger in an event.
type skippedTrigger struct {
	Receipt string
	Input   string
	Labels  map[string]string
}

// spec returns the JobRun's spec.
func (r request) spec() v1alpha1.JobRunSpec {
	spec := v1alpha1.JobRunSpec{
		JobName: r.job, ConcurrencyKey: r.key, IdempotencyKey: r.idempotency, Coalesce: r.coalesce, MaxAttempts: r.attempts,
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
