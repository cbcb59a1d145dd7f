// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"fmt"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

var _ = Describe("Trigger", func() {
	It("is one request, and returns the run that stands for it", func() {
		a := trigger(job("k"), jobrun.WithLabels(map[string]string{"env": "prod"}))
		Expect(a.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(a.Run).To(Equal(jobrun.RunIdentity{Name: a.JobRun.Name, Token: a.JobRun.Spec.Admission.Token}))
		Expect(a.JobRun.UID).NotTo(BeEmpty())
		Expect(a.JobRun.Labels).To(HaveKeyWithValue("env", "prod"))
		Expect(wire.sent()).To(Equal([]string{"POST"}))
	})

	It("distinguishes coalesced, idempotent and conflicting triggers", func() {
		_, pending := busy("k")
		b := trigger(skipping(job("k")))
		Expect(b.Disposition).To(Equal(v1alpha1.DispositionCoalesced))
		Expect(b.Run.Name).To(Equal(pending))
		Expect(b.JobRun.Name).NotTo(Equal(pending))

		once := worker()
		once.IdempotencyKey = "delivery"
		first, second := trigger(once), trigger(once)
		Expect(first.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(second.Disposition).To(Equal(v1alpha1.DispositionIdempotent))
		Expect(second.Run).To(Equal(first.Run))

		_, err := runs.Trigger(ctx, job("k"))
		var conflict *jobrun.ConflictError
		Expect(errors.As(err, &conflict)).To(BeTrue(), "%v", err)
		Expect(conflict.PendingRun).To(Equal(pending))
		Expect(apierrors.IsConflict(err)).To(BeTrue())
	})

	It("names the field that the API server refuses", func() {
		spec := job("k")
		spec.Template.Spec.Template.Spec.Containers = nil
		_, err := runs.Trigger(ctx, spec)
		var invalid *jobrun.ValidationError
		Expect(errors.As(err, &invalid)).To(BeTrue(), "%v", err)
		Expect(invalid.Fields).To(ContainElement(HaveField("Field", "spec.template.spec.template.spec.containers")))
		Expect(apierrors.IsInvalid(err)).To(BeTrue())
	})

	It("changes nothing in a dry run", func() {
		Expect(trigger(job("k"), jobrun.DryRun()).Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(runs.List(ctx, jobrun.Selector{})).To(BeEmpty())
	})

	It("makes one run of a trigger whose answers are lost", func() {
		wire.losing(2)
		a := trigger(job("k"), jobrun.WithName("a"))
		Expect(a.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(a.JobRun.Spec.Admission.RunName).To(Equal("a"))
		Expect(runs.List(ctx, jobrun.Selector{})).To(HaveLen(1))
		leased("a")

		wire.losing(1)
		_, err := runs.Trigger(ctx, job("k"), jobrun.WithName("a"))
		Expect(apierrors.IsAlreadyExists(err)).To(BeTrue(), "%v", err)
	})

	It("leaves at most one run waiting in a storm of triggers", func() {
		busy("k")
		var (
			callers sync.WaitGroup
			mu      sync.Mutex
			found   = map[v1alpha1.Disposition]int{}
		)
		for i := range 40 {
			callers.Go(func() {
				defer GinkgoRecover()
				spec := job("storm")
				if i%2 == 0 {
					spec = skipping(spec)
				}
				result, err := runs.Trigger(ctx, spec)
				if err != nil {
					Expect(err).To(Or(MatchError(jobrun.ErrConflict), MatchError(jobrun.ErrReserved)))
				}
				mu.Lock()
				defer mu.Unlock()
				found[result.Disposition]++
			})
		}
		callers.Wait()
		Expect(found[""]+found["Created"]+found["Coalesced"]).To(Equal(40), fmt.Sprint(found))
		Expect(found["Created"]).To(BeNumerically(">=", 1))
		pending, err := runs.List(ctx, jobrun.Selector{ConcurrencyKey: "storm"}, v1alpha1.PhasePending)
		Expect(err).NotTo(HaveOccurred())
		Expect(len(pending)).To(BeNumerically("<=", 1))
	})
})

var _ = Describe("A JobRun", func() {
	It("is found by job, key, phase and labels", func() {
		executing, pending := busy("k")
		other := worker()
		other.JobName = "other"
		labelled := trigger(other, jobrun.WithLabels(map[string]string{"env": "prod"})).JobRun.Name
		names := func(s jobrun.Selector, phases ...v1alpha1.Phase) []string {
			GinkgoHelper()
			found, err := runs.List(ctx, s, phases...)
			Expect(err).NotTo(HaveOccurred())
			var names []string
			for _, run := range found {
				names = append(names, run.Name)
			}
			return names
		}
		Expect(names(jobrun.Selector{})).To(ConsistOf(executing, pending, labelled))
		Expect(names(jobrun.Selector{JobName: "sync"})).To(ConsistOf(executing, pending))
		Expect(names(jobrun.Selector{JobName: "other", ConcurrencyKey: "k"})).To(BeEmpty())
		Expect(names(jobrun.Selector{ConcurrencyKey: "k"}, v1alpha1.PhasePending)).To(ConsistOf(pending))
		Expect(names(jobrun.Selector{ConcurrencyKey: "k"}, v1alpha1.PhasePending, v1alpha1.PhaseLeased)).To(ConsistOf(executing, pending))
		Expect(names(jobrun.Selector{Labels: labels.SelectorFromSet(labels.Set{"env": "prod"})})).To(ConsistOf(labelled))
		all, err := runs.Namespace("").List(ctx, jobrun.Selector{JobName: "other"})
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(ContainElement(HaveField("Name", labelled)))
	})

	It("is cancelled by its identity, and a later one of its name is not", func() {
		first := trigger(worker(), jobrun.WithName("a")).JobRun
		Expect(runs.Delete(ctx, "a")).To(Succeed())
		second := trigger(worker(), jobrun.WithName("a")).JobRun
		Expect(runs.CancelFor(ctx, first)).To(MatchError(jobrun.ErrNotFound))
		Expect(get("a")()).To(HaveField("Spec.Cancel", BeNil()))
		Expect(runs.CancelFor(ctx, second)).To(Succeed())
		_, err := runs.WaitFor(ctx, second)
		Expect(err).To(MatchError(jobrun.ErrCancelled))
		Expect(runs.CancelFor(ctx, first)).To(MatchError(jobrun.ErrNotFound))
	})

	It("is cancelled and deleted", func() {
		a := trigger(worker(), jobrun.WithName("a")).JobRun.Name
		Expect(runs.Cancel(ctx, a)).To(Succeed())
		_, err := runs.Wait(ctx, a)
		Expect(err).To(And(MatchError(jobrun.ErrCancelled), MatchError("run a was cancelled: cancelled on request")))
		Expect(runs.Delete(ctx, a)).To(Succeed())
		for _, call := range []func() error{
			func() error { return runs.Delete(ctx, a) },
			func() error { return runs.Cancel(ctx, a) },
			func() error { _, err := runs.Get(ctx, a); return err },
			func() error { _, err := runs.Wait(ctx, a); return err },
			func() error { _, err := runs.Retrigger(ctx, a); return err },
		} {
			err := call()
			Expect(err).To(MatchError(jobrun.ErrNotFound))
			Expect(apierrors.IsNotFound(err)).To(BeTrue())
		}
	})

	It("is triggered again, unless a run waits for its key", func() {
		spec := skipping(job("k"))
		spec.IdempotencyKey = "once"
		a := trigger(spec, jobrun.WithName("a"), jobrun.WithLabels(map[string]string{"env": "prod"}))
		fail("a", "no rows")
		_, err := runs.Wait(ctx, "a")
		Expect(err).To(And(MatchError(jobrun.ErrFailed), MatchError(ContainSubstring("no rows"))))

		b, err := runs.Retrigger(ctx, "a", jobrun.WithName("b"))
		Expect(err).NotTo(HaveOccurred())
		Expect(b.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(b.JobRun.Labels).To(Equal(a.JobRun.Labels))
		Expect(b.JobRun.Spec.Template).To(Equal(a.JobRun.Spec.Template))
		leased("b")
		c, err := runs.Retrigger(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		_, err = runs.Retrigger(ctx, "a")
		var conflict *jobrun.ConflictError
		Expect(errors.As(err, &conflict)).To(BeTrue(), "%v", err)
		Expect(conflict.PendingRun).To(Equal(c.JobRun.Name))
	})

	It("cannot be ended by a holder that lost its lease", func() {
		a := trigger(worker()).JobRun.Name
		Eventually(get(a)).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		Expect(work(a, claim)).To(Succeed())
		for _, stale := range []func(*v1alpha1.JobRunStatus){
			func(s *v1alpha1.JobRunStatus) { finish(s); s.FinishedGeneration++ },
			func(s *v1alpha1.JobRunStatus) { progress(1)(s); s.Progress.Generation++ },
		} {
			err := jobrun.Classify(work(a, stale))
			Expect(err).To(MatchError(jobrun.ErrLeaseLost))
		}
		Expect(work(a, finish)).To(Succeed())
	})
})
