// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// delivered creates a JobRun that must be answered Idempotent. It returns the receipt and the first warning.
func delivered(b builder, as *v1alpha1.JobRun) (*v1alpha1.JobRun, string) {
	GinkgoHelper()
	receipt, texts, err := trigger(b)
	Expect(err).NotTo(HaveOccurred())
	Expect(receipt).To(beAnswered(v1alpha1.DispositionIdempotent, as.Name))
	Expect(receipt.Spec.Admission.RunToken).To(Equal(as.Spec.Admission.Token))
	Expect(receipt.Spec.Admission.KeyVersion).To(BeEmpty())
	Expect(receipt.Labels).To(HaveKeyWithValue(v1alpha1.LabelDisposition, "idempotent"))
	Expect(texts).NotTo(BeEmpty())
	Expect(texts[0]).To(ContainSubstring("run " + as.Name + " "))
	return receipt, texts[0]
}

var _ = Describe("A trigger that was delivered before", func() {
	It("starts nothing, and gets the outcome of the first", func() {
		a, j := leased(created(makeRun("a").delivery("d").input(`{"x":1}`)))
		b, warning := delivered(makeRun("b").delivery("d").input(`{ "x" : 1 }`), a)
		Expect(warning).NotTo(ContainSubstring("input"))
		b = wait(b, And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(a)))
		endPod(startPod(j), "7")
		completeJob(j)
		Expect(wait(b, haveCondition(v1alpha1.ConditionComplete)).Status.Output.Raw).To(MatchJSON("7"))
		Expect(jobs()).To(HaveLen(1))
		Expect(wait(a, inPhase(v1alpha1.PhaseCompleted)).Status.Coalesced).To(BeNil())

		c, _ := delivered(makeRun("c").delivery("d"), a)
		wait(c, haveCondition(v1alpha1.ConditionComplete))
	})

	It("is not a conflict, whether the run waits or executes", func() {
		a := created(makeWorkerRun("a").key("k").delivery("d"))
		delivered(makeWorkerRun("b").key("k").delivery("d"), a)
		delivered(makeWorkerRun("c").key("k").delivery("d").skip(), a)
		delivered(makeWorkerRun("d").key("other").delivery("d"), a)
		Expect(keyOf("other")).To(BeNil())
	})

	It("with another input gets a warning that the input is ignored", func() {
		a := created(makeWorkerRun("a").delivery("d").input(`{"x":1}`))
		everyReplicaHas(a)
		_, warning := delivered(makeWorkerRun("b").delivery("d").input(`{"x":2}`), a)
		Expect(warning).To(ContainSubstring("its input differs from that of a and is ignored"))
	})

	It("and absorbed is answered Idempotent with the run that absorbed it", func() {
		leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		absorbed(makeRun("c").key("k").skip().delivery("d"), b)
		d, _ := delivered(makeRun("d").key("k").skip().delivery("d"), b)
		wait(d, And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(b)))
		wait(b, haveAbsorbed(1))
		Expect(deliveryOf("d").Owner.RunName).To(Equal("b"))
	})

	It("may be delivered again once its run is deleted", func() {
		a, j := leased(created(makeRun("a").key("k").delivery("d")))
		completeJob(j)
		a = wait(a, inPhase(v1alpha1.PhaseCompleted))
		Consistently(deliveryOf).WithArguments("d").Should(Not(BeNil()))
		remove(a)
		Eventually(keys).Should(BeEmpty())
		leased(created(makeRun("b").key("k").delivery("d")))
	})

	It("and absorbed may be delivered again once that run is deleted, even if its receipt was deleted before", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := wait(absorbed(makeWorkerRun("b").key("k").skip().delivery("d"), a), inPhase(v1alpha1.PhaseCoalesced))
		remove(b)
		Consistently(deliveryOf).WithArguments("d").Should(HaveValue(HaveField("Owner.RunName", "a")))
		remove(a)
		Eventually(keys).Should(BeEmpty())
	})

	It("gets the outcome of the first even under another concurrencyKey, deletion included", func() {
		a := created(makeWorkerRun("a").key("k").delivery("d"))
		b, _ := delivered(makeWorkerRun("b").key("other").delivery("d"), a)
		wait(b, inPhase(v1alpha1.PhaseIdempotent))
		remove(a)
		b = wait(b, haveCondition(v1alpha1.ConditionCancelled))
		Expect(b.Status.Error).To(ContainSubstring("run a was deleted"))
		Eventually(keys).Should(BeEmpty())
	})

	It("does not contend with other jobs", func() {
		created(makeWorkerRun("a").delivery("d"))
		created(makeWorkerRun("b").delivery("d").with(func(r *v1alpha1.JobRun) { r.Spec.JobName = "other" }))
	})

	It("many times at the same time makes one run", func() {
		var triggers []builder
		for i := range 100 {
			triggers = append(triggers, makeWorkerRun(fmt.Sprintf("a-%d", i)).key("k").delivery("d"))
		}
		answers := storm(triggers)
		Expect(number(answers, "k", v1alpha1.DispositionCreated)).To(Equal(1))
		Expect(number(answers, "k", v1alpha1.DispositionIdempotent)).To(Equal(99))
		owner := deliveryOf("d").Owner.RunName
		for _, a := range answers {
			Expect(a.run).To(Equal(owner))
		}
		Expect(keyOf("k").Pending.RunName).To(Equal(owner))
	})
})
