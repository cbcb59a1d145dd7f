// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"maps"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Option is a TriggerOption or a WaitOption.
type Option interface{ apply(*options) }

// TriggerOption changes how a JobRun is created.
type TriggerOption interface {
	Option
	forTrigger()
}

// WaitOption changes what a wait reports.
type WaitOption interface {
	Option
	forWait()
}

type options struct {
	name, prefix        string
	idempotencyKey      string
	labels, annotations map[string]string
	dryRun              bool
	patience            time.Duration
	onProgress          func(v1alpha1.Progress)
	onState             func(*v1alpha1.JobRun)
}

type triggerOption func(*options)

func (o triggerOption) apply(to *options) { o(to) }
func (triggerOption) forTrigger()         {}

type waitOption func(*options)

func (o waitOption) apply(to *options) { o(to) }
func (waitOption) forWait()            {}

func gather[O Option](opts []O) options {
	var o options
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o
}

// WithName sets the name of the JobRun: a DNS-1123 subdomain of at most 253 characters, or 52 if a Job executes the run,
// with the template of the spec or of a JobDefinition. If the name is taken, the trigger is refused with an error for which
// apierrors.IsAlreadyExists is true.
func WithName(name string) TriggerOption {
	return triggerOption(func(o *options) { o.name = name })
}

// WithGenerateName makes the name of the JobRun from prefix and ten random characters. A prefix that is too long is cut.
// The default prefix is spec.jobName and "-". A name has at most 52 characters then. WithName takes precedence.
func WithGenerateName(prefix string) TriggerOption {
	return triggerOption(func(o *options) { o.prefix = prefix })
}

// WithIdempotencyKey sets spec.idempotencyKey. An empty key changes nothing.
func WithIdempotencyKey(key string) TriggerOption {
	return triggerOption(func(o *options) { o.idempotencyKey = key })
}

// WithLabels adds labels to the JobRun.
func WithLabels(labels map[string]string) TriggerOption {
	return triggerOption(func(o *options) { o.labels = merge(o.labels, labels) })
}

// WithAnnotations adds annotations to the JobRun.
func WithAnnotations(annotations map[string]string) TriggerOption {
	return triggerOption(func(o *options) { o.annotations = merge(o.annotations, annotations) })
}

// DryRun makes the trigger a dry run: nothing is stored, and the result is what the trigger would get now.
func DryRun() TriggerOption {
	return triggerOption(func(o *options) { o.dryRun = true })
}

// WithPatience sets how long the trigger tries to learn the answer after that was lost, instead of 30 seconds. It does not
// bound the first attempt: ctx does.
func WithPatience(patience time.Duration) TriggerOption {
	return triggerOption(func(o *options) { o.patience = patience })
}

// OnProgress calls report when new progress of the run that stands for the trigger is seen. Progress in between may be
// missed, the latest is not. The goroutine that waits makes the calls, and waits for each to return.
func OnProgress(report func(v1alpha1.Progress)) WaitOption {
	return waitOption(func(o *options) { o.onProgress = report })
}

// OnState calls report with each state seen of the JobRun, and of the run that stands for it. Do not change the object.
// The calls are made as for OnProgress.
func OnState(report func(*v1alpha1.JobRun)) WaitOption {
	return waitOption(func(o *options) { o.onState = report })
}

func merge(into, from map[string]string) map[string]string {
	merged := make(map[string]string, len(into)+len(from))
	maps.Copy(merged, into)
	maps.Copy(merged, from)
	return merged
}
