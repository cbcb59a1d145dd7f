// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// withoutWebhook deletes the webhook configuration until the container ends.
func withoutWebhook() {
	GinkgoHelper()
	stamped := func() (bool, error) {
		probe := makeWorkerRun("probe")
		probe.obj.Namespace = "default"
		run, _, err := trigger(probe, client.DryRunAll)
		return run.Spec.Admission != nil, err
	}
	var configurations admissionregistrationv1.MutatingWebhookConfigurationList
	Expect(k8s.List(ctx, &configurations)).To(Succeed())
	Expect(configurations.Items).To(HaveLen(1))
	configuration := &configurations.Items[0]
	Expect(k8s.Delete(ctx, configuration)).To(Succeed())
	Eventually(stamped).Should(BeFalse())
	DeferCleanup(func() {
		configuration.ResourceVersion = ""
		Expect(k8s.Create(ctx, configuration)).To(Succeed())
		Eventually(stamped).Should(BeTrue())
	})
}

var _ = Describe("A run that was stored without the webhook", Ordered, Serial, func() {
	BeforeAll(withoutWebhook)

	bypassing := func(b builder) *v1alpha1.JobRun {
		GinkgoHelper()
		run, _, err := trigger(b)
		Expect(err).NotTo(HaveOccurred())
		Expect(run.Spec.Admission).To(BeNil())
		return run
	}
	// behind returns a run that waits behind another one, and a function that ends the other one.
	behind := func() (b *v1alpha1.JobRun, endBefore func()) {
		GinkgoHelper()
		_, j := leased(bypassing(makeRun("a").key("k")))
		b = wait(bypassing(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		return b, func() { completeJob(j) }
	}

	It("executes without a key", func() {
		a, j := leased(bypassing(makeRun("a")))
		completeJob(j)
		wait(a, haveCondition(v1alpha1.ConditionComplete))
	})

	It("takes a free key", func() {
		a, j := leased(bypassing(makeRun("a").key("k")))
		Expect(keyOf("k").Leased.Token).To(BeEquivalentTo(a.UID))
		completeJob(j)
		wait(a, haveCondition(v1alpha1.ConditionComplete))
		Eventually(keys).Should(BeEmpty())
	})

	It("waits behind the run that executes", func() {
		b, endBefore := behind()
		endBefore()
		leased(b)
	})

	It("coalesces into the run that waits, if it has coalesce: Skip", func() {
		b, endBefore := behind()
		c := wait(bypassing(makeRun("c").key("k").skip()), And(inPhase(v1alpha1.PhaseCoalesced), beBoundTo(b)))
		wait(b, haveAbsorbed(1))
		endBefore()
		_, j := leased(b)
		completeJob(j)
		wait(c, haveCondition(v1alpha1.ConditionComplete))
		Expect(get("b")()).To(haveAbsorbed(1))
	})

	It("fails because of the run that waits, without coalesce", func() {
		b, _ := behind()
		c := wait(bypassing(makeRun("c").key("k")), haveCondition(v1alpha1.ConditionFailed))
		Expect(c.Status.Error).To(ContainSubstring("run b is pending"))
		Expect(get("b")()).To(And(inPhase(v1alpha1.PhasePending), HaveField("UID", b.UID)))
	})

	It("owns its idempotencyKey, or becomes a receipt of the run that does", func() {
		a, _ := leased(bypassing(makeRun("a").key("k").delivery("d")))
		Expect(deliveryOf("d").Owner.Token).To(BeEquivalentTo(a.UID))
		wait(bypassing(makeRun("b").key("k").delivery("d")), And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(a)))
		wait(bypassing(makeRun("c").delivery("d")), And(inPhase(v1alpha1.PhaseIdempotent), beBoundTo(a)))
		Expect(jobs()).To(HaveLen(1))
	})
})
