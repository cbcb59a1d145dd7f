// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	It("watches, and goes on at another gateway without a loss", func() {
		// Each request goes to the gateway that is in use.
		var used atomic.Pointer[endpoint]
		used.Store(gate)
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			at := used.Load()
			r.URL.Host = strings.TrimPrefix(at.url, "https://")
			return at.client.Transport.RoundTrip(r)
		})}
		wandering, err := jobrun.NewForGateway(jobrun.GatewayOptions{
			URL: gate.url, HTTPClient: client, Token: func(context.Context) (string, error) { return editor, nil },
		}, ns)
		Expect(err).NotTo(HaveOccurred())
		before := waiting()
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		events, err := wandering.Watch(watching, jobrun.Selector{JobName: job, ConcurrencyKey: "k"}, jobrun.WithExisting())
		Expect(err).NotTo(HaveOccurred())
		told := make(chan string, 100)
		go func() {
			defer GinkgoRecover()
			for e, err := range events {
				if err != nil {
					Expect(watching.Err()).To(HaveOccurred(), "%v", err)
					return
				}
				text := string(e.Type) + " " + e.Run.Name
				if e.Skipped != nil {
					text += " " + e.Skipped.Name + " " + e.Skipped.Input
				}
				told <- text
			}
		}()
		next := func() (text string) {
			GinkgoHelper()
			Eventually(told).Should(Receive(&text))
			return text
		}
		Expect(next()).To(Equal("run:trigger " + before))
		absorbed, err := wandering.Trigger(ctx, absorbable)
		Expect(err).NotTo(HaveOccurred())
		Expect(next()).To(Equal("run:coalesced " + before + " " + absorbed.JobRun.Name + ` {"org":"acme"}`))

		another := startGateway()
		used.Store(another)
		gate.stop()
		again, err := wandering.Trigger(ctx, absorbable)
		Expect(err).NotTo(HaveOccurred())
		Expect(next()).To(Equal("run:coalesced " + before + " " + again.JobRun.Name + ` {"org":"acme"}`))
		complete(before, `{"users":42}`)
		Expect(next()).To(Equal("run:leased " + before))
		Expect(next()).To(Equal("run:complete " + before))
		Expect(wandering.Delete(ctx, before)).To(Succeed())
		Expect(next()).To(Equal("run:delete " + before))
		cancel()
	})

	It("triggers all or nothing", func() {
		item := func(spec v1alpha1.JobRunSpec) jobrun.BatchItem { return jobrun.BatchItem{Spec: spec} }
		results, err := overHTTP.BatchTrigger(ctx, []jobrun.BatchItem{item(absorbable), item(absorbable), item(v1alpha1.JobRunSpec{JobName: job})})
		Expect(err).NotTo(HaveOccurred())
		Expect(results).To(HaveLen(3))
		Expect(results[0].Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(results[1].Disposition).To(Equal(v1alpha1.DispositionCoalesced))
		Expect(results[1].Run).To(Equal(results[0].Run))
		Expect(results[2].JobRun.Spec.Batch.Size).To(BeEquivalentTo(3))

		_, err = overHTTP.BatchTrigger(ctx, []jobrun.BatchItem{item(v1alpha1.JobRunSpec{JobName: job}), item(v1alpha1.JobRunSpec{JobName: job, ConcurrencyKey: "k"})})
		var refused *jobrun.BatchItemError
		Expect(errors.As(err, &refused)).To(BeTrue(), "%v", err)
		Expect(refused.Index).To(Equal(1))
		var conflict *jobrun.ConflictError
		Expect(errors.As(err, &conflict)).To(BeTrue(), "%v", err)
		Expect(conflict.PendingRun).To(Equal(results[0].Run.Name))
	})

	It("reads definitions", func() {
		definition := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job}}
		definition.Spec.Description = "Copies users."
		Expect(k8s.Create(ctx, definition)).To(Succeed())
		one, err := overHTTP.Definition(ctx, job)
		Expect(err).NotTo(HaveOccurred())
		Expect(one.Spec.Description).To(Equal("Copies users."))
		all, err := overHTTP.Definitions(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(ConsistOf(HaveField("Name", job)))
		_, err = overHTTP.Definition(ctx, "nothing")
		Expect(err).To(MatchError(jobrun.ErrNotFound))
	})
})

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip sends a request.
func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }
