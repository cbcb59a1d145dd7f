// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// reserve reserves the keys of a run that is never stored.
func reserve(name, key, delivery string) runkey.Identity {
	GinkgoHelper()
	ghost := runkey.Identity{RunName: name, Token: "token-of-" + name}
	outcome, err := keystore.New(keystore.Options{Cached: k8s, Live: k8s, Writer: k8s, Clock: clock.RealClock{}}).
		Admit(ctx, ns, runkey.Trigger{Run: ghost, JobName: job, ConcurrencyKey: key, IdempotencyKey: delivery}, false, func() error { return nil })
	Expect(err).NotTo(HaveOccurred())
	Expect(outcome.Disposition).To(Equal(v1alpha1.DispositionCreated))
	return ghost
}

// inPlaceOfGhost creates a receipt of a run that is never stored.
func inPlaceOfGhost(b builder) *v1alpha1.JobRun {
	GinkgoHelper()
	receipt, _, err := trigger(b)
	Expect(err).NotTo(HaveOccurred())
	Expect(receipt).To(beAnswered(v1alpha1.DispositionCoalesced, "ghost"))
	return receipt
}

var _ = Describe("A run that was admitted and is never stored", Ordered, func() {
	BeforeAll(func() { useControllers(shortGrace()) })

	It("holds its key for the grace period only", func() {
		ghost := reserve("ghost", "k", "d")
		Consistently(keyOf).WithArguments("k").Should(HaveValue(HaveField("Pending.Token", ghost.Token)))
		Eventually(keys).Should(BeEmpty())
	})

	It("because a later admission plugin refused it, holds its key for the grace period only", func() {
		forbidLabelled()
		_, _, err := trigger(makeRun("a").key("k").label(forbidden, ""))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(keyOf("k")).NotTo(BeNil())
		Eventually(keys).Should(BeEmpty())
		Eventually(func() error {
			_, _, err := trigger(makeRun("a").key("k"))
			return err
		}).Should(Succeed())
	})

	It("gives its place and the other receipts to its oldest receipt", func() {
		risen := counts("jobrun_promotions_total", "")
		reserve("ghost", "k", "")
		var receipts []*v1alpha1.JobRun
		for _, name := range []string{"a", "b", "c"} {
			receipts = append(receipts, inPlaceOfGhost(makeWorkerRun(name).key("k").skip()))
		}
		a := wait(receipts[0], And(inPhase(v1alpha1.PhasePending), haveAbsorbed(2)))
		Expect(a).To(beBoundTo(a))
		for _, receipt := range receipts[1:] {
			wait(receipt, And(inPhase(v1alpha1.PhaseCoalesced), beBoundTo(a)))
		}
		Expect(keyOf("k").Pending.Token).To(Equal(a.Spec.Admission.Token))
		Eventually(risen).Should(Equal(1))
	})

	It("is replaced by a receipt that executes", func() {
		reserve("ghost", "k", "")
		a, j := leased(inPlaceOfGhost(makeRun("a").key("k").skip()))
		completeJob(j)
		a = wait(a, haveCondition(v1alpha1.ConditionComplete))
		Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseCompleted))
		Eventually(keys).Should(BeEmpty())
	})

	It("gives its idempotency key to the next delivery, which then executes", func() {
		reserve("ghost", "k", "d")
		a, _, err := trigger(makeRun("a").key("k").delivery("d"))
		Expect(err).NotTo(HaveOccurred())
		Expect(a).To(beAnswered(v1alpha1.DispositionIdempotent, "ghost"))
		b, _, err := trigger(makeRun("b").delivery("d"))
		Expect(err).NotTo(HaveOccurred())

		a, _ = leased(a)
		wait(b, And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(a)))
		Expect(deliveryOf("d").Owner.RunName).To(Equal("a"))
		Expect(jobs()).To(HaveLen(1))
	})

	It("is replaced at once by a trigger with its name", func() {
		reserve("a", "k", "d")
		a := created(makeRun("a").key("k").delivery("d"))
		leased(a)
		Expect(deliveryOf("d").Owner.Token).To(Equal(a.Spec.Admission.Token))
	})
})
