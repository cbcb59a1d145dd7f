// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("An idempotencyKey with a TTL", func() {
	It("makes a manifest that is applied in a loop execute once, although its JobRun is deleted each time", func() {
		first, j := leased(created(makeRun("a").delivery("d").remembered(3600).ttl(0)))
		endPod(startPod(j), `{"x":1}`)
		completeJob(j)
		Eventually(gone(first)).Should(BeTrue())
		Expect(deliveryOf("d").Outcome).To(HaveValue(And(
			HaveField("UID", first.UID), HaveField("Phase", v1alpha1.PhaseCompleted), HaveField("Output", `{"x":1}`),
		)))
		for range 5 {
			receipt, texts, err := trigger(makeRun("a").delivery("d").remembered(3600).ttl(0))
			Expect(err).NotTo(HaveOccurred())
			Expect(receipt).To(beAnswered(v1alpha1.DispositionIdempotent, "a"))
			Expect(texts).To(ContainElement(ContainSubstring("run a completed at ")))
			Eventually(gone(receipt)).Should(BeTrue())
		}
		Expect(jobs()).To(HaveLen(1)) // Nothing collects the garbage of deleted JobRuns here.
	})

	It("gives a later delivery the outcome of a run that is gone", func() {
		first, j := leased(created(makeRun("a").delivery("d").remembered(3600)))
		failJob(j, "BackoffLimitExceeded", "no more retries")
		first = wait(first, inPhase(v1alpha1.PhaseFailed))
		Eventually(deliveryOf).WithArguments("d").Should(HaveField("Outcome", Not(BeNil())))
		remove(first)
		receipt, texts, err := trigger(makeRun("b").delivery("d"))
		Expect(err).NotTo(HaveOccurred())
		Expect(texts).To(ContainElement(And(ContainSubstring("run a failed at "), ContainSubstring("release-key sync"))))
		receipt = wait(receipt, haveCondition(v1alpha1.ConditionFailed))
		Expect(receipt).To(And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(first)))
		Expect(receipt.Status.Error).To(Equal(first.Status.Error))
		Expect(receipt.Status.CompletionTime).To(Equal(first.Status.CompletionTime))
	})

	It("is forgotten when the TTL is over", func() {
		first, j := leased(created(makeRun("a").delivery("d").remembered(1)))
		completeJob(j)
		wait(first, inPhase(v1alpha1.PhaseCompleted))
		Eventually(deliveryOf).WithArguments("d").Should(BeNil())
		created(makeRun("b").delivery("d"))
	})
})

var _ = Describe("An idempotencyKey that is released on failure", func() {
	It("lets the next delivery execute after a failure", func() {
		first, j := leased(created(makeRun("a").key("k").delivery("d").released().remembered(3600)))
		failJob(j, "BackoffLimitExceeded", "no more retries")
		wait(first, inPhase(v1alpha1.PhaseFailed))
		Eventually(keys).Should(BeEmpty())
		second, j := leased(created(makeRun("b").key("k").delivery("d").released().remembered(3600)))
		completeJob(j)
		wait(second, inPhase(v1alpha1.PhaseCompleted))
		Eventually(deliveryOf).WithArguments("d").Should(HaveField("Outcome.Phase", v1alpha1.PhaseCompleted))
		delivered(makeRun("c").key("k").delivery("d"), second)
	})

	It("lets the next delivery execute after a cancel", func() {
		cancel(created(makeWorkerRun("a").delivery("d").released()))
		Eventually(keys).Should(BeEmpty())
		created(makeWorkerRun("b").delivery("d"))
	})
})
