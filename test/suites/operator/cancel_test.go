// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("Cancelling", func() {
	cancelled := func(run *v1alpha1.JobRun) *v1alpha1.JobRun {
		GinkgoHelper()
		return wait(run, And(haveCondition(v1alpha1.ConditionCancelled), HaveField("Status.CompletionTime", Not(BeNil()))))
	}

	It("a run that waits frees its place", func() {
		leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		cancel(b)
		Expect(cancelled(b).Status.Phase).To(Equal(v1alpha1.PhaseCancelled))
		Expect(keyOf("k").Pending).To(BeNil())
		wait(created(makeRun("c").key("k")), inPhase(v1alpha1.PhasePending))
	})

	It("a run that no worker has claimed frees its key", func() {
		a := created(makeWorkerRun("a").key("k"))
		cancel(a)
		cancelled(a)
		Eventually(keys).Should(BeEmpty())
	})

	It("a run that executes deletes its Job, and waits until the Job is gone", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := created(makeRun("b").key("k"))
		cancel(a)
		Eventually(gone(j)).Should(BeFalse())
		Consistently(get("a")).Should(inPhase(v1alpha1.PhaseLeased))

		collect(j)
		Expect(cancelled(a).Status.FinishedGeneration).To(BeEquivalentTo(1))
		leased(b)
	})

	It("a run without a key that executes ends it, too", func() {
		a, j := leased(created(makeRun("a")))
		cancel(a)
		collect(j)
		Expect(cancelled(a).Status.Phase).To(Equal(v1alpha1.PhaseCancelled))
	})

	It("a run after its end has no effect", func() {
		a, j := leased(created(makeRun("a").key("k")))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		cancel(a)
		Consistently(get("a")).Should(inPhase(v1alpha1.PhaseCompleted))
	})

	It("a receipt does not cancel its run", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := wait(absorbed(makeWorkerRun("b").key("k").skip(), a), inPhase(v1alpha1.PhaseCoalesced))
		cancel(b)
		Expect(cancelled(b).Status.Phase).To(Equal(v1alpha1.PhaseCoalesced))
		Expect(get("a")()).To(And(inPhase(v1alpha1.PhasePending), haveAbsorbed(1)))
	})

	It("a run cancels its receipts", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := wait(absorbed(makeWorkerRun("b").key("k").skip(), a), inPhase(v1alpha1.PhaseCoalesced))
		cancel(a)
		cancelled(a)
		Expect(cancelled(b).Status.Phase).To(Equal(v1alpha1.PhaseCoalesced))
		Eventually(keys).Should(BeEmpty())
	})

	It("a run in its manifest starts no Job", func() {
		a := created(makeRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.Cancel = ptr.To(true) }))
		cancelled(a)
		Eventually(keys).Should(BeEmpty())
		Expect(jobs()).To(BeEmpty())
	})

	It("cannot be undone", func() {
		a := created(makeWorkerRun("a"))
		cancel(a)
		a = cancelled(a)
		a.Spec.Cancel = nil
		Expect(fields(refusal(k8s.Update(ctx, a)))).To(ContainElement("spec.cancel"))
	})
})
