// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// batch makes the run a member of the leader's batch of that size.
func (b builder) batch(leader string, size int32) builder {
	return b.with(func(r *v1alpha1.JobRun) {
		r.Spec.Batch = &v1alpha1.BatchMember{ID: "batch-of-" + leader, Size: size, Leader: leader}
	})
}

func decided(decision v1alpha1.BatchDecision) OmegaMatcher {
	return HaveField("Status.Batch", HaveValue(HaveField("Decision", decision)))
}

var _ = Describe("A batch", Ordered, func() {
	const timeout = 3 * time.Second
	BeforeAll(func() {
		o := shortGrace()
		o.BatchTimeout = timeout
		useControllers(o)
	})
	beUndecided := And(inPhase(""), HaveField("Status.Batch", BeNil()))

	It("starts when all of its members exist, and not before", func() {
		a := created(makeRun("a").key("k").batch("a", 3))
		b := created(makeRun("b").batch("a", 3))
		Consistently(jobs).Should(BeEmpty())
		Expect(get("a")()).To(beUndecided)
		Expect(get("b")()).To(beUndecided)
		c := absorbed(makeRun("c").key("k").skip().batch("a", 3), a)

		a, _ = leased(a)
		Expect(a).To(decided(v1alpha1.BatchStarted))
		b, _ = leased(b)
		Expect(b).To(decided(v1alpha1.BatchStarted))
		wait(c, And(inPhase(v1alpha1.PhaseCoalesced), beBoundTo(a), decided(v1alpha1.BatchStarted)))
		wait(a, haveAbsorbed(1))
	})

	It("that is not whole in time is withdrawn, and none of its members executes", func() {
		a := created(makeRun("a").key("k").batch("a", 4))
		b := created(makeRun("b").delivery("d").batch("a", 4))
		c := absorbed(makeRun("c").key("k").skip().batch("a", 4), a)
		outsider := absorbed(makeRun("outsider").key("k").skip(), a)
		again, _ := delivered(makeRun("again").delivery("d"), b)
		Consistently(get("outsider")).WithTimeout(steady / 2).Should(inPhase(""))

		for _, member := range []*v1alpha1.JobRun{a, b, c} {
			member = wait(member, And(inPhase(v1alpha1.PhaseCancelled), decided(v1alpha1.BatchWithdrawn)))
			Expect(member.Status.Error).To(ContainSubstring("batch batch-of-a was withdrawn"))
			Expect(member.Status.Lease).To(BeNil())
			Expect(member.Status.Coalesced).To(BeNil())
		}
		leased(outsider)
		leased(again)
		Expect(deliveryOf("d").Owner.RunName).To(Equal("again"))
		Expect(jobs()).To(HaveLen(2))
	})

	It("is withdrawn when its leader is cancelled before the start", func() {
		a := created(makeRun("a").key("k").batch("a", 3))
		b := created(makeRun("b").key("l").batch("a", 3))
		cancel(a)
		wait(a, And(inPhase(v1alpha1.PhaseCancelled), decided(v1alpha1.BatchWithdrawn)))
		wait(b, And(inPhase(v1alpha1.PhaseCancelled), decided(v1alpha1.BatchWithdrawn)))
		Eventually(keys).Should(BeEmpty())
		c := created(makeRun("c").key("l").batch("a", 3))
		wait(c, inPhase(v1alpha1.PhaseCancelled))
		Expect(jobs()).To(BeEmpty())
	})

	It("is withdrawn when its leader is deleted before the start", func() {
		a := created(makeRun("a").batch("a", 3))
		b := created(makeRun("b").key("k").batch("a", 3))
		remove(a)
		wait(b, And(inPhase(v1alpha1.PhaseCancelled), decided(v1alpha1.BatchWithdrawn)))
		Eventually(keys).Should(BeEmpty())
	})

	It("does not count the members of another batch", func() {
		a := created(makeRun("a").batch("a", 2))
		created(makeRun("b").batch("a", 2).with(func(r *v1alpha1.JobRun) { r.Spec.Batch.ID = "another" }))
		wait(a, decided(v1alpha1.BatchWithdrawn))
	})

	// The webhook refuses a member by what its cache shows, which may lag. A dry run makes no member.
	refused := func(b builder, want string) {
		GinkgoHelper()
		Eventually(func() error { return k8s.Create(ctx, b.obj.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring(want)))
		_, _, err := trigger(b)
		Expect(err).To(MatchError(ContainSubstring(want)))
	}

	It("has no members beyond its size", func() {
		a := created(makeRun("a").batch("a", 2))
		b := created(makeRun("b").batch("a", 2))
		leased(a)
		leased(b)
		refused(makeRun("c").batch("a", 2), "spec.batch.size: Invalid value: 2: the batch has started with all of its members")
		refused(makeRun("d").batch("a", 3), "spec.batch.size: Invalid value: 3: JobRun ")
	})

	It("has an id of its own", func() {
		a := created(makeRun("a").batch("a", 2))
		b := created(makeRun("b").batch("a", 2))
		leased(a)
		leased(b)
		remove(a)
		refused(makeRun("a").batch("a", 2),
			`spec.batch.id: Invalid value: "batch-of-a": JobRun b had this id in an earlier batch; use each id for one batch only`)
		other := makeRun("x").batch("x", 2).with(func(r *v1alpha1.JobRun) { r.Spec.Batch.ID = "batch-of-a" })
		refused(other, "in the batch of a; use each id for one batch only")
	})

	It("keeps its undecided members from workers", func() {
		a := created(makeWorkerRun("a").batch("a", 2))
		err := writeStatus(a, func(s *v1alpha1.JobRunStatus) {
			s.Phase = v1alpha1.PhaseLeased
			s.Lease = &v1alpha1.RunLease{HolderIdentity: "worker", Generation: 1}
		})
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("a member of a batch that is undecided has no phase")))
		created(makeWorkerRun("b").batch("a", 2))
		claim(a, "worker", 30)
	})

	It("is decided once", func() {
		a := created(makeWorkerRun("a").batch("a", 1))
		a = wait(a, And(decided(v1alpha1.BatchStarted), inPhase(v1alpha1.PhasePending))) // the controller writes no more
		err := writeStatus(a, func(s *v1alpha1.JobRunStatus) { s.Batch.Decision = v1alpha1.BatchWithdrawn })
		Expect(err).To(MatchError(ContainSubstring("status.batch is final")))
		a.Spec.Batch.Size = 2
		Expect(k8s.Update(ctx, a)).To(MatchError(ContainSubstring("batch is immutable")))
	})
})
