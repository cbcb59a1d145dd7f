// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("Deleting", func() {
	It("a run that waits frees its key", func() {
		remove(wait(created(makeWorkerRun("a").key("k").delivery("d")), inPhase(v1alpha1.PhasePending)))
		Eventually(keys).Should(BeEmpty())
	})

	It("a run that waits gives its place to the next trigger", func() {
		leased(created(makeRun("a").key("k")))
		remove(wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending)))
		Eventually(func() any { return keyOf("k").Pending }).Should(BeNil())
		wait(created(makeRun("c").key("k")), inPhase(v1alpha1.PhasePending))
	})

	It("a run that executes deletes its Job, and keeps the key until the Job is gone", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		remove(a)
		Consistently(get("b")).Should(inPhase(v1alpha1.PhasePending))
		Expect(keyOf("k").Leased.RunName).To(Equal("a"))

		collect(j)
		leased(b)
	})

	It("a run cancels its receipts", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := wait(absorbed(makeWorkerRun("b").key("k").skip(), a), inPhase(v1alpha1.PhaseCoalesced))
		remove(a)
		b = wait(b, haveCondition(v1alpha1.ConditionCancelled))
		Expect(b.Status.Error).To(ContainSubstring("run a was deleted"))
		Eventually(keys).Should(BeEmpty())
	})

	It("a receipt does not change its run", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := wait(absorbed(makeWorkerRun("b").key("k").skip(), a), inPhase(v1alpha1.PhaseCoalesced))
		remove(b)
		absorbed(makeWorkerRun("c").key("k").skip(), a)
		Eventually(get("a")).Should(haveAbsorbed(2))
	})

	It("a run and creating it again at once makes a new run, not a receipt of the old one", func() {
		for range 5 {
			a := created(makeWorkerRun("a").key("k").delivery("d").skip())
			remove(a)
		}
		a := wait(created(makeWorkerRun("a").key("k").delivery("d").skip()), inPhase(v1alpha1.PhasePending))
		Expect(keyOf("k").Pending.Token).To(Equal(a.Spec.Admission.Token))
		Expect(deliveryOf("d").Owner.Token).To(Equal(a.Spec.Admission.Token))
	})

	It("a run that executes and creating it again at once executes both one after the other", func() {
		old, before := leased(created(makeRun("a").key("k")))
		remove(old)
		a := created(makeRun("a").key("k").skip())
		Consistently(keyOf).WithArguments("k").Should(HaveValue(HaveField("Leased.Token", old.Spec.Admission.Token)))
		Expect(jobs()).To(HaveLen(1))

		collect(before)
		_, after := leased(a)
		Expect(after.UID).NotTo(Equal(before.UID))
		completeJob(after)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		Eventually(keys).Should(BeEmpty())
	})

	It("a run without a key and creating it again at once waits for the old Job", func() {
		old, before := leased(created(makeRun("a")))
		remove(old)
		a := created(makeRun("a"))
		collect(before)
		_, after := leased(a)
		Expect(after.UID).NotTo(Equal(before.UID))
	})

	It("a run whose Job is refused frees its key", func() {
		forbidJobs()
		remove(wait(created(makeRun("a").key("k")), HaveField("Status.Error", Not(BeEmpty()))))
		Eventually(keys).Should(BeEmpty())
	})

	It("a run that a foreign finalizer holds back cancels it", func() {
		const finalizer = "example.com/keep"
		a, j := leased(created(makeRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Finalizers = []string{finalizer} })))
		b := created(makeRun("b").key("k").with(func(r *v1alpha1.JobRun) { r.Finalizers = []string{finalizer} }))
		remove(b)
		wait(b, haveCondition(v1alpha1.ConditionCancelled))
		remove(a)
		collect(j)
		wait(a, haveCondition(v1alpha1.ConditionCancelled))
		Eventually(keys).Should(BeEmpty())
	})

	It("while no controller runs has its effect later", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		theControllers.stop()
		remove(a)
		remove(b)
		useControllers(shortGrace())
		collect(j)
		Eventually(keys).Should(BeEmpty())
	})
})
