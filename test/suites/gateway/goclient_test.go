// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

var _ = Describe("the Go client over HTTP", func() {
	var overHTTP jobrun.Runs
	BeforeEach(func() {
		var err error
		overHTTP, err = jobrun.NewForGateway(jobrun.GatewayOptions{
			URL: gate.url, HTTPClient: gate.client, Token: func(context.Context) (string, error) { return editor, nil },
		}, ns)
		Expect(err).NotTo(HaveOccurred())
	})
	absorbable := v1alpha1.JobRunSpec{
		JobName: job, ConcurrencyKey: "k", Coalesce: v1alpha1.CoalesceSkip, Input: &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)},
	}

	It("triggers and waits, and a receipt gets the outcome of its run", func() {
		type ended struct {
			outcome jobrun.Outcome
			err     error
		}
		first, err := overHTTP.Trigger(ctx, absorbable, jobrun.WithLabels(map[string]string{"team": "a"}))
		Expect(err).NotTo(HaveOccurred())
		Expect(first.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(first.JobRun.Labels).To(HaveKeyWithValue("team", "a"))
		Expect(first.JobRun.Spec.Input.Raw).To(MatchJSON(`{"org":"acme"}`))
		Expect(first.Run).To(Equal(jobrun.RunIdentity{Name: first.JobRun.Name, Token: first.JobRun.Spec.Admission.Token}))
		outcomes := make(chan ended, 2)
		go func() {
			outcome, err := overHTTP.TriggerAndWait(ctx, absorbable)
			outcomes <- ended{outcome, err}
		}()
		Eventually(jobRuns).Should(HaveLen(2))
		go func() {
			outcome, err := overHTTP.WaitFor(ctx, first.JobRun)
			outcomes <- ended{outcome, err}
		}()
		complete(first.JobRun.Name, `{"users":42}`)
		for range 2 {
			var e ended
			Eventually(outcomes).Should(Receive(&e))
			Expect(e.err).NotTo(HaveOccurred())
			Expect(e.outcome.Run.Name).To(Equal(first.JobRun.Name))
			Expect(string(e.outcome.Output.Raw)).To(Equal(`{"users":42}`))
		}
		runs, err := overHTTP.List(ctx, jobrun.Selector{JobName: job, ConcurrencyKey: "k"}, v1alpha1.PhaseCompleted)
		Expect(err).NotTo(HaveOccurred())
		Expect(runs).To(ConsistOf(HaveField("Name", first.JobRun.Name)))
		again, err := overHTTP.Retrigger(ctx, first.JobRun.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(again.JobRun.Spec.ConcurrencyKey).To(Equal("k"))
		Expect(overHTTP.Delete(ctx, again.JobRun.Name)).To(Succeed())
	})

	It("has the errors of the client of Kubernetes", func() {
		name := waiting()
		var conflict *jobrun.ConflictError
		_, err := overHTTP.Trigger(ctx, v1alpha1.JobRunSpec{JobName: job, ConcurrencyKey: "k"})
		Expect(errors.As(err, &conflict)).To(BeTrue(), "%v", err)
		Expect(conflict.PendingRun).To(Equal(name))
		var forbidden *jobrun.ForbiddenError
		_, err = overHTTP.TriggerDefined(ctx, "secret", nil)
		Expect(errors.As(err, &forbidden)).To(BeTrue(), "%v", err)
		Expect(forbidden.Verb + " " + forbidden.Resource + " " + forbidden.Name).To(Equal("trigger jobdefinitions secret"))
		_, err = overHTTP.Get(ctx, "nothing")
		Expect(err).To(MatchError(jobrun.ErrNotFound))
		_, err = overHTTP.Wait(ctx, "nothing")
		Expect(err).To(MatchError(jobrun.ErrNotFound))
		_, err = overHTTP.Trigger(ctx, v1alpha1.JobRunSpec{JobName: job}, jobrun.WithName("mine"))
		Expect(err).To(MatchError(jobrun.ErrInvalid))
		Expect(overHTTP.Cancel(ctx, name)).To(Succeed())
		outcome, err := overHTTP.Wait(ctx, name)
		Expect(err).To(MatchError(jobrun.ErrCancelled))
		Expect(outcome.JobRun.Name).To(Equal(name))
		dry, err := overHTTP.Trigger(ctx, v1alpha1.JobRunSpec{JobName: job}, jobrun.DryRun())
		Expect(err).NotTo(HaveOccurred())
		Expect(dry.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(jobRuns()).To(HaveLen(1))
	})
})
