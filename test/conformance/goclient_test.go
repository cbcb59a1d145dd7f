// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// goClient is the surface of pkg/jobrun.
type goClient struct {
	*jobrun.Client
	namespace string
}

func newGoClient(api client.WithWatch, namespace string) surface {
	return goClient{jobrun.New(api, namespace), namespace}
}

func (s goClient) as(api client.WithWatch) surface { return newGoClient(api, s.namespace) }

func (s goClient) trigger(r request) (answer, *refusal) {
	options, spec := []jobrun.TriggerOption{jobrun.WithName(r.name), jobrun.WithLabels(r.labels)}, r.spec()
	var result jobrun.TriggerResult
	var err error
	if apiequality.Semantic.DeepEqual(spec, v1alpha1.JobRunSpec{JobName: spec.JobName, Input: spec.Input}) {
		result, err = s.TriggerDefined(ctx, spec.JobName, spec.Input, options...)
	} else {
		result, err = s.Trigger(ctx, spec, options...)
	}
	if err != nil {
		return answer{}, clientRefusal(err)
	}
	return answerOf(result), nil
}

func (s goClient) triggerAll(requests ...request) ([]answer, *refusal) {
	items := make([]jobrun.BatchItem, len(requests))
	for i, r := range requests {
		items[i] = jobrun.BatchItem{Spec: r.spec(), Options: []jobrun.TriggerOption{jobrun.WithName(r.name), jobrun.WithLabels(r.labels)}}
	}
	results, err := s.BatchTrigger(ctx, items)
	if err != nil {
		return nil, clientRefusal(err)
	}
	answers := make([]answer, len(results))
	for i, result := range results {
		answers[i] = answerOf(result)
	}
	return answers, nil
}

func (s goClient) retrigger(name string) (answer, *refusal) {
	result, err := s.Retrigger(ctx, name)
	if err != nil {
		return answer{}, clientRefusal(err)
	}
	return answerOf(result), nil
}

func answerOf(r jobrun.TriggerResult) answer { return answer{r.JobRun.Name, r.Disposition, r.Run.Name} }

func clientRefusal(err error) *refusal {
	r := &refusal{err: err}
	var conflict *jobrun.ConflictError
	if errors.As(err, &conflict) {
		r.conflict, r.pending = true, conflict.PendingRun
	}
	r.forbidden = errors.As(err, new(*jobrun.ForbiddenError))
	var invalid *jobrun.ValidationError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Fields {
			r.fields = append(r.fields, f.Field)
		}
	}
	return r
}

func (s goClient) outcome(name string) outcome {
	GinkgoHelper()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := s.Wait(bounded, name)
	end := outcome{Phase: v1alpha1.ConditionComplete, Disposition: o.Disposition, Run: o.Run.Name, Output: textOf(o.Output)}
	var failed *jobrun.FailedError
	var cancelled *jobrun.CancelledError
	switch {
	case errors.As(err, &failed):
		end.Phase, end.Message = v1alpha1.ConditionFailed, failed.Message
	case errors.As(err, &cancelled):
		end.Phase, end.Message = v1alpha1.ConditionCancelled, cancelled.Message
	default:
		Expect(err).NotTo(HaveOccurred())
	}
	return end
}

func textOf(json *apiextensionsv1.JSON) string {
	if json == nil {
		return ""
	}
	return string(json.Raw)
}

func (s goClient) cancel(name string) {
	GinkgoHelper()
	Expect(s.Cancel(ctx, name)).To(Succeed())
}

// told returns the events of one type that Watch delivers for a run that exists.
func (s goClient) told(name string, kind jobrun.EventType) []jobrun.Event {
	GinkgoHelper()
	bounded, cancel := context.WithTimeout(ctx, steady/2)
	defer cancel()
	events, err := s.Watch(bounded, jobrun.Selector{}, jobrun.WithExisting())
	Expect(err).NotTo(HaveOccurred())
	var found []jobrun.Event
	for e, err := range events {
		if err == nil && e.Run.Name == name && e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}

func (s goClient) triggered(name string) int { return len(s.told(name, jobrun.EventTrigger)) }

func (s goClient) skipped(name string) []skippedTrigger {
	GinkgoHelper()
	var found []skippedTrigger
	for _, e := range s.told(name, jobrun.EventCoalesced) {
		Expect(e.Skipped).NotTo(BeNil())
		found = append(found, skippedTrigger{e.Skipped.Name, e.Skipped.Input, e.Skipped.Labels})
	}
	return found
}
