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

const (
	// generatedSuffixLength makes a collision of generated names unlikely
	// enough not to be provided for.
	generatedSuffixLength = 10
	maxNameLength         = 253
)

// TriggerResult is what became of a trigger, as the answer of its create says.
type TriggerResult struct {
	// JobRun is the trigger's own: a run if Created, else a receipt. After a
	// dry run it does not exist.
	JobRun *v1alpha1.JobRun
	// Disposition is Created, Coalesced or Idempotent. It is empty, and so is
	// Run, if the trigger was stored without the operator's webhook: what
	// becomes of it shows later, and Wait tells.
	Disposition v1alpha1.Disposition
	// Run stands for the trigger: JobRun itself if Created. A run that is
	// deleted before it stands for the trigger is replaced by another one, or
	// by JobRun itself; so wait for JobRun, not for Run.
	Run RunIdentity
}

// RunIdentity names a run. A name can be used again, a token cannot.
type RunIdentity struct {
	// Name of the JobRun.
	Name string
	// Token that the webhook gave it: its spec.admission.token.
	Token string
}

// Trigger creates a JobRun and says what became of it. It sends one request,
// and more only if its answer is lost: it then tries to find out for half a
// minute, or until ctx is done.
//
// spec.admission is ignored. Errors: *ValidationError (nothing was sent, or the
// API server refused it), *ConflictError, *UnansweredError, or that of the API
// server: of a name that is taken, apierrors.IsAlreadyExists is true. But for
// *UnansweredError, an error means that there is no trigger.
func (c *Client) Trigger(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...TriggerOption) (TriggerResult, error) {
	return c.trigger(ctx, spec, gather(opts))
}

// TriggerAndWait triggers a run and waits for the outcome, as Trigger and Wait
// do. It returns both their errors; the Outcome has the JobRun as far as it is
// known. A dry run has no outcome and is refused.
func (c *Client) TriggerAndWait(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...Option) (Outcome, error) {
	o := gather(opts)
	if o.dryRun {
		return Outcome{}, errors.New("a dry run has no outcome to wait for")
	}
	result, err := c.trigger(ctx, spec, o)
	if err != nil {
		return Outcome{}, err
	}
	return c.await(ctx, subjectOf(result.JobRun), o)
}

func (c *Client) trigger(ctx context.Context, spec v1alpha1.JobRunSpec, o options) (TriggerResult, error) {
	run := c.newJobRun(spec, o)
	if err := c.validate(run); err != nil {
		return TriggerResult{}, err
	}
	stored, err := c.create(ctx, run, o.dryRun)
	if err != nil {
		return TriggerResult{}, err
	}
	return resultOf(stored), nil
}

// newJobRun is what a trigger sends. The name is filled in here, for a create
// can only be sent again under the same one.
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
		run.Name = generateName(o.prefix, &run.Spec)
	}
	return run
}

func generateName(prefix string, spec *v1alpha1.JobRunSpec) string {
	if prefix == "" {
		prefix = spec.JobName + "-"
	}
	longest := maxNameLength
	if spec.Template != nil {
		longest = v1alpha1.MaxTemplateRunName
	}
	return prefix[:min(len(prefix), longest-generatedSuffixLength)] + utilrand.String(generatedSuffixLength)
}

func resultOf(run *v1alpha1.JobRun) TriggerResult {
	result := TriggerResult{JobRun: run}
	if a := run.Spec.Admission; a != nil {
		result.Disposition = a.Disposition
		result.Run = RunIdentity{Name: a.RunName, Token: a.RunToken}
	}
	return result
}
