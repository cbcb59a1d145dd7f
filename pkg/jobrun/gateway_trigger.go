// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// gatewayAnswer is what this package reads of the gateway's answer to a trigger.
type gatewayAnswer struct {
	Disposition v1alpha1.Disposition `json:"disposition"`
	Run         string               `json:"run"`
	Trigger     string               `json:"trigger"`
}

// Trigger is Client.Trigger, but for lost answers. The gateway names the JobRun, so a trigger is sent again only if it has an
// idempotencyKey, with which it executes once. Without one, a lost answer is a *UnansweredError, which has no Name. The result
// comes after a second request, which reads the JobRun. If that fails, for example because the JobRun is gone or the caller may not
// read it, there is no error: the JobRun of the result has nothing but its name, labels and spec, and Run has no token.
func (g *GatewayClient) Trigger(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...TriggerOption) (TriggerResult, error) {
	return g.trigger(ctx, spec, gather(opts))
}

// TriggerDefined is Client.TriggerDefined.
func (g *GatewayClient) TriggerDefined(ctx context.Context, jobName string, input any, opts ...TriggerOption) (TriggerResult, error) {
	spec, err := Defined(jobName, input)
	if err != nil {
		return TriggerResult{}, err
	}
	return g.Trigger(ctx, spec, opts...)
}

// TriggerAndWait is Client.TriggerAndWait.
func (g *GatewayClient) TriggerAndWait(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...Option) (Outcome, error) {
	o := gather(opts)
	if o.dryRun {
		return Outcome{}, errors.New("a dry run has no outcome to wait for")
	}
	result, err := g.trigger(ctx, spec, o)
	if err != nil {
		return Outcome{}, err
	}
	return await(ctx, subjectOf(result.JobRun), o, g.feedOf)
}

// Retrigger is Client.Retrigger. The gateway takes no labels for it, and retriggers no run with a template of its own. A lost
// answer is a *UnansweredError, which has no Name. If the new JobRun cannot be read, the JobRun of the result has nothing but its name.
func (g *GatewayClient) Retrigger(ctx context.Context, name string, opts ...TriggerOption) (TriggerResult, error) {
	o := gather(opts)
	errs := refusedOptions(o)
	if len(o.labels) > 0 || o.idempotencyKey != "" || o.dryRun {
		errs = append(errs, field.Forbidden(field.NewPath("options"), "the gateway retriggers with the labels of the original alone"))
	}
	if len(errs) > 0 {
		return TriggerResult{}, invalid(name, errs)
	}
	if err := New(nil, g.namespace).checkName(name); err != nil {
		return TriggerResult{}, err
	}
	var answer gatewayAnswer
	if err := g.call(ctx, http.MethodPost, "/runs/"+name+"/retrigger", nil, nil, &answer); err != nil {
		return TriggerResult{}, triggerError(err)
	}
	return g.read(ctx, &v1alpha1.JobRun{}, answer, o)
}

func (g *GatewayClient) trigger(ctx context.Context, spec v1alpha1.JobRunSpec, o options) (TriggerResult, error) {
	sent := New(nil, g.namespace).newJobRun(spec, o)
	body, err := gatewayBody(sent, o)
	if err != nil {
		return TriggerResult{}, err
	}
	query := url.Values{}
	if o.dryRun {
		query.Set("dryRun", metav1.DryRunAll)
	}
	var answer gatewayAnswer
	send := func(ctx context.Context) error {
		return g.call(ctx, http.MethodPost, "/jobs/"+sent.Spec.JobName+"/runs", query, body, &answer)
	}
	if err := ctx.Err(); err != nil {
		return TriggerResult{}, err
	}
	if err := send(ctx); err != nil {
		if sent.Spec.IdempotencyKey == "" || !isLost(err) {
			return TriggerResult{}, triggerError(err)
		}
		if err := sendAgain(ctx, send, o, err); err != nil {
			return TriggerResult{}, triggerError(err)
		}
	}
	return g.read(ctx, sent, answer, o)
}

// sendAgain repeats a trigger with an idempotencyKey until it is answered.
func sendAgain(ctx context.Context, send func(context.Context) error, o options, lost error) error {
	patient, cancel := context.WithTimeout(ctx, cmp.Or(o.patience, createPatience))
	defer cancel()
	for backoff := createBackoff; pause(patient, backoff.Step()); {
		err := send(patient)
		if err == nil || !isLost(err) && !transient(err) {
			return err
		}
		if patient.Err() == nil {
			lost = err
		}
	}
	return errors.Join(lost, ctx.Err())
}

// gatewayBody returns the body of a trigger: the fields of the spec but jobName, and the labels. It refuses what the gateway
// does not take.
func gatewayBody(run *v1alpha1.JobRun, o options) (map[string]any, error) {
	errs := append(refusedOptions(o), validateSpec(&run.Spec, field.NewPath("spec"))...)
	if run.Spec.Template != nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "template"), "the gateway triggers with no template: write a JobDefinition"))
	}
	if run.Spec.Cancel != nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "cancel"), "the gateway triggers no cancelled run"))
	}
	if len(errs) > 0 {
		return nil, invalid("", errs)
	}
	spec := run.Spec
	spec.Admission, spec.Batch = nil, nil
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "jobName") // the path has it
	body := map[string]any{}
	for name, value := range fields {
		body[name] = value
	}
	if len(run.Labels) > 0 {
		body["labels"] = run.Labels
	}
	return body, nil
}

func refusedOptions(o options) field.ErrorList {
	var errs field.ErrorList
	if o.name != "" || o.prefix != "" {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), "the gateway names the JobRun"))
	}
	if len(o.annotations) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), "the gateway takes no annotations"))
	}
	return errs
}

// isLost reports whether a trigger whose answer this is may have been stored.
func isLost(err error) bool {
	return !answered(err) && !unsent(err) && !errors.As(err, new(*unsentError)) || apierrors.IsTimeout(err)
}

// triggerError returns the error for a trigger that was not accepted, or not answered.
func triggerError(err error) error {
	var status apierrors.APIStatus
	switch {
	case !isLost(err):
		return Classify(err)
	case errors.As(err, &status) && status.Status().Details != nil:
		return &UnansweredError{Name: status.Status().Details.Name, err: err}
	default:
		return &UnansweredError{err: err}
	}
}

// read returns the result of a trigger that was accepted, with its JobRun as far as it can be read.
func (g *GatewayClient) read(ctx context.Context, sent *v1alpha1.JobRun, answer gatewayAnswer, o options) (TriggerResult, error) {
	result, err := g.accepted(sent, answer)
	if err != nil || o.dryRun {
		return result, err
	}
	_ = g.complete(ctx, &result, o) // An error would make the caller trigger again.
	return result, nil
}

// accepted returns what the gateway's answer says of a trigger. Without the name of a JobRun, it says nothing.
func (g *GatewayClient) accepted(sent *v1alpha1.JobRun, answer gatewayAnswer) (TriggerResult, error) {
	if err := New(nil, g.namespace).checkName(answer.Trigger); err != nil {
		return TriggerResult{}, &UnansweredError{err: fmt.Errorf("the gateway's answer names no JobRun: %w", err)}
	}
	sent.Namespace, sent.Name = g.namespace, answer.Trigger
	return TriggerResult{JobRun: sent, Disposition: answer.Disposition, Run: RunIdentity{Name: answer.Run}}, nil
}

// complete reads the JobRun of a result. If it is gone, or cannot be read for longer than the patience, it leaves the result as it is.
func (g *GatewayClient) complete(ctx context.Context, result *TriggerResult, o options) error {
	patient, cancel := context.WithTimeout(ctx, cmp.Or(o.patience, createPatience))
	defer cancel()
	for backoff := createBackoff; ; {
		stored, err := g.Get(patient, result.JobRun.Name)
		switch {
		case err == nil:
			*result = resultOf(stored)
			return nil
		case errors.Is(err, ErrNotFound):
			return nil
		case !transient(err) || !pause(patient, backoff.Step()):
			return err
		}
	}
}
