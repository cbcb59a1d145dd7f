// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A run whose Job vanished", func() {
	It("waits again, and executes with a higher generation", func() {
		a, j := leased(created(makeRun("a").key("k")))
		remove(j)
		Eventually(history(a)).Should(Equal([]string{"Leased 1", "Pending 2", "Leased 3"}))
		a, j = leased(a)
		Expect(j.Name).To(Equal("a-3"))
		Expect(a.Status.Attempts).To(BeEquivalentTo(1))
		Expect(keyOf("k").Leased.Generation).To(BeEquivalentTo(3))
		completeJob(j)
		Expect(wait(a, inPhase(v1alpha1.PhaseCompleted)).Status.FinishedGeneration).To(BeEquivalentTo(3))
	})

	It("does the same without a key", func() {
		a, j := leased(created(makeRun("a")))
		remove(j)
		Eventually(history(a)).Should(Equal([]string{"Leased 1", "Pending 2", "Leased 3"}))
		a, j = leased(a)
		Expect(a.Status.Attempts).To(BeEquivalentTo(1))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
	})

	It("fails if another run waits, which then executes", func() {
		risen := expirations("failed")
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		remove(j)
		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a.Status.Error).To(Equal("Lease expired; pending run b already exists"))
		Expect(a.Status.Attempts).To(BeEquivalentTo(1))
		leased(b)
		Eventually(risen).Should(Equal(1))
	})

	It("fails once its attempts are used up", func() {
		a, j := leased(created(makeRun("a").key("k").attempts(2)))
		remove(j)
		wait(a, HaveField("Status.Lease.Generation", BeEquivalentTo(3)))
		_, j = leased(a)
		remove(j)
		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a.Status.Attempts).To(BeEquivalentTo(2))
		Expect(a.Status.Error).To(Equal("Lease expired; all 2 attempts are used"))
		Eventually(keys).Should(BeEmpty())
	})

	It("keeps its lease if only the Job's labels are gone", func() {
		a, j := leased(created(makeRun("a").key("k")))
		j.Labels = map[string]string{"mine": "alone"}
		Expect(k8s.Update(ctx, j)).To(Succeed())
		Consistently(get("a")).Should(inPhase(v1alpha1.PhaseLeased))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
	})

	It("keeps its lease while the Job is being deleted", func() {
		a, j := leased(created(makeRun("a").key("k")))
		Expect(k8s.Delete(ctx, j, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
		Consistently(get("a")).Should(And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.Attempts", BeZero())))
		collect(j)
		Eventually(history(a)).Should(Equal([]string{"Leased 1", "Pending 2", "Leased 3"}))
	})

	It("keeps its lease while a Pod of the Job runs", func() {
		a, j := leased(created(makeRun("a").key("k")))
		pod := startPod(j)
		remove(j)
		Eventually(gone(j)).Should(BeTrue())
		Consistently(get("a")).Should(And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.Attempts", BeZero())))
		Expect(keyOf("k").Leased.RunName).To(Equal("a"))

		endPod(pod, "")
		Eventually(history(a)).Should(Equal([]string{"Leased 1", "Pending 2", "Leased 3"}))
	})

	It("keeps its key while a Pod of the Job runs, even if it is cancelled", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := created(makeRun("b").key("k"))
		pod := startPod(j)
		cancel(a)
		collect(j)
		Consistently(get("a")).Should(inPhase(v1alpha1.PhaseLeased))
		Consistently(get("b")).Should(inPhase(v1alpha1.PhasePending))
		endPod(pod, "")
		wait(a, haveCondition(v1alpha1.ConditionCancelled))
		leased(b)
	})

	It("keeps its receipts", func() {
		_, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		c := absorbed(makeRun("c").key("k").skip(), b)
		completeJob(j)
		_, j = leased(b)
		remove(j)
		wait(b, HaveField("Status.Lease.Generation", BeEquivalentTo(3)))
		_, j = leased(b)
		completeJob(j)
		wait(c, haveCondition(v1alpha1.ConditionComplete))
		Expect(get("b")()).To(haveAbsorbed(1))
	})
})
