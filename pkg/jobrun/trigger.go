// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// generatedSuffixLength makes a collision of generated names so unlikely that Trigger does not handle it.
const generatedSuffixLength = 10

// TriggerResult is the answer to a trigger.
type TriggerResult struct {
	// JobRun is the trigger's own JobRun: a run if Created, else a receipt. After a dry run it does not exist. Wait for
	// this one: a receipt takes over the outcome of the run that stands for it.
	JobRun *v1alpha1.JobRun
	// Disposition is Created, Coalesced or Idempotent. Disposition and Run are empty if the JobRun was stored without
	// the operator's webhook. The operator then decides later what becomes of the trigger.
	Disposition v1alpha1.Disposition
	// Run stands for the trigger: JobRun itself if Created. If that run is deleted before the receipt is bound to it,
	// another run, or JobRun itself, takes its place.
	Run RunIdentity
}

// RunIdentity identifies a run. A later JobRun may have the same name, but never the same token.
type RunIdentity struct {
	// Name is the name of the JobRun.
	Name string
	// Token is its spec.admission.token, which the webhook sets.
	Token string
}

// Trigger creates a JobRun and returns the answer. It ignores spec.admission. It sends one request, and more only in two
// cases. If the answer is lost, it tries to learn the answer for 30 seconds, or until ctx is done. If the key is reserved
// for a run that does not exist, it tries again for less than a second, because the create of that run may be under way.
//
// Errors:
//   - *ValidationError: a field is not valid. This package or the API server refused the trigger.
//   - *ConflictError: a run waits for the key, and spec does not ask to coalesce.
//   - *ForbiddenError: a right is missing.
//   - *ReservedError: the key is still reserved for a run that does not exist, and spec does not ask to coalesce. The
//     trigger can succeed later.
//   - *WebhookDownError: the API server could not call a webhook. The trigger can succeed later.
//   - *UnansweredError: it is not known whether the trigger was accepted. After any other error there is no trigger.
//   - any other error of the API server. If the name is taken, apierrors.IsAlreadyExists is true for it.
func (c *Client) Trigger(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...TriggerOption) (TriggerResult, error) {
	return c.trigger(ctx, spec, gather(opts))
}

// TriggerAndWait triggers a run and waits for the outcome. It returns the errors of Trigger and of Wait. With an error of
// Wait, the Outcome has what was seen. DryRun is refused.
func (c *Client) TriggerAndWait(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...Option) (Outcome, error) {
	o := gather(opts)
	if o.dryRun {
		return Outcome{}, errors.New("a dry run has no outcome to wait for")
	}
	result, err := c.trigger(ctx, spec, o)
	if err != nil {
		return Outcome{}, err
	}
	return await(ctx, subjectOf(result.JobRun), o, c.feedOf)
}

// Retrigger triggers a new run with the spec and labels of a JobRun, run or receipt, but without its idempotencyKey and what
// belongs to it, and without cancel, coalesce and batch. It does not ask to coalesce: while a run waits for the key it returns
// a *ConflictError, and while the key is reserved for a run that does not exist a *ReservedError. Labels of the options are
// added. The labels with which Velero marks what it restored are left out, because the new run is not restored.
//
// If a JobDefinition completed the JobRun and still exists, it completes the new one as it is now. Retrigger then keeps the
// input, and the fields that the definition leaves to the trigger. A definition whose default is coalesce: Skip still lets a
// waiting run absorb the new trigger.
//
// Errors: *NotFoundError, and those of Trigger.
func (c *Client) Retrigger(ctx context.Context, name string, opts ...TriggerOption) (TriggerResult, error) {
	original, err := c.Get(ctx, name)
	if err != nil {
		return TriggerResult{}, err
	}
	return c.RetriggerFor(ctx, original, opts...)
}

// RetriggerFor is like Retrigger, for the JobRun that Trigger or Get returned. It does not read it again.
func (c *Client) RetriggerFor(ctx context.Context, original *v1alpha1.JobRun, opts ...TriggerOption) (TriggerResult, error) {
	o := gather(opts)
	labels := original.CallersLabels()
	for _, label := range v1alpha1.RestoredLabels {
		delete(labels, label)
	}
	o.labels = merge(labels, o.labels)
	spec, err := c.again(ctx, original)
	if err != nil {
		return TriggerResult{}, err
	}
	return c.trigger(ctx, spec, o)
}

// again returns the spec of another trigger of the same work.
func (c *Client) again(ctx context.Context, original *v1alpha1.JobRun) (v1alpha1.JobRunSpec, error) {
	if a := original.Spec.Admission; a == nil || a.Definition == nil {
		return again(original.Spec), nil
	}
	definition, err := c.Definition(ctx, original.Spec.JobName)
	switch {
	case errors.Is(err, ErrNotFound):
		return again(original.Spec), nil
	case err != nil:
		return v1alpha1.JobRunSpec{}, err
	default:
		return againAsDefined(original.Spec, definition), nil
	}
}

func again(spec v1alpha1.JobRunSpec) v1alpha1.JobRunSpec {
	spec.IdempotencyKey, spec.IdempotencyTTLSeconds, spec.IdempotencyRelease = "", 0, ""
	spec.Cancel = nil
	spec.Coalesce = ""
	spec.Admission = nil
	spec.Batch = nil
	spec.Represents = nil
	return spec
}

func (c *Client) trigger(ctx context.Context, spec v1alpha1.JobRunSpec, o options) (TriggerResult, error) {
	run := c.newJobRun(spec, o)
	if err := c.validate(run); err != nil {
		return TriggerResult{}, err
	}
	stored, err := c.create(ctx, run, o)
	if err != nil {
		return TriggerResult{}, err
	}
	return resultOf(stored), nil
}

// newJobRun returns the JobRun to create. It sets the name, because only a create with a fixed name can be repeated.
func (c *Client) newJobRun(spec v1alpha1.JobRunSpec, o options) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   c.namespace,
			Name:        o.name,
			Labels:      o.labels,
			Annotations: o.annotations,
		},
		Spec: *spec.DeepCopy(),
	}
	run.Spec.Admission = nil
	if run.Name == "" {
		run.Name = generateName(o.prefix, run.Spec.JobName)
	}
	if o.idempotencyKey != "" {
		run.Spec.IdempotencyKey = o.idempotencyKey
	}
	return run
}

// generateName leaves room for the name of a Job, even if the trigger has no template: its JobDefinition may have one.
func generateName(prefix, jobName string) string {
	if prefix == "" {
		prefix = jobName + "-"
	}
	return prefix[:min(len(prefix), v1alpha1.MaxTemplateRunName-generatedSuffixLength)] + utilrand.String(generatedSuffixLength)
}

func resultOf(run *v1alpha1.JobRun) TriggerResult {
	result := TriggerResult{JobRun: run}
	if a := run.Spec.Admission; a != nil {
		result.Disposition = a.Disposition
		result.Run = RunIdentity{Name: a.RunName, Token: a.RunToken}
	}
	return result
}
