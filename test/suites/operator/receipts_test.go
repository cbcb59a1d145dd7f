// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A receipt", func() {
	// waiting returns a run that waits behind another one, and a function that ends the other one.
	waiting := func() (b *v1alpha1.JobRun, endBefore func()) {
		GinkgoHelper()
		_, j := leased(created(makeRun("a").key("k")))
		b = wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		return b, func() { completeJob(j) }
	}

	It("names the run that stands for it, and the run counts it", func() {
		b, _ := waiting()
		c := absorbed(makeRun("c").key("k").skip().input(`{"org":"acme"}`).label("env", "prod"), b)
		c = wait(c, inPhase(v1alpha1.PhaseCoalesced))
		Expect(c).To(And(beBoundTo(b), haveCondition(v1alpha1.ConditionCoalesced)))

		b = wait(b, haveAbsorbed(1))
		Expect(b.Status.Coalesced.Recent).To(ConsistOf(And(
			HaveField("Name", "c"), HaveField("UID", c.UID), HaveField("Input", `{"org":"acme"}`),
			HaveField("Labels", Equal(map[string]string{"env": "prod"})))))
		Expect(jobs()).To(HaveLen(1))
	})

	It("completes with its run, and has the run's output", func() {
		b, endBefore := waiting()
		c := absorbed(makeRun("c").key("k").skip(), b)
		endBefore()
		b, j := leased(b)
		endPod(startPod(j), `{"rows":3}`)
		completeJob(j)

		c = wait(c, haveCondition(v1alpha1.ConditionComplete))
		Expect(c.Status.Phase).To(Equal(v1alpha1.PhaseCoalesced))
		Expect(c.Status.Output.Raw).To(MatchJSON(`{"rows":3}`))
		Expect(c.Status.CompletionTime.Time).To(Equal(wait(b, inPhase(v1alpha1.PhaseCompleted)).Status.CompletionTime.Time))
	})

	It("fails with its run, and has the run's error", func() {
		b, endBefore := waiting()
		c := absorbed(makeRun("c").key("k").skip(), b)
		endBefore()
		_, j := leased(b)
		failJob(j, "DeadlineExceeded", "too late")

		c = wait(c, haveCondition(v1alpha1.ConditionFailed))
		Expect(c.Status.Phase).To(Equal(v1alpha1.PhaseCoalesced))
		Expect(c.Status.Error).To(ContainSubstring("too late"))
	})

	It("is counted once, even if there are many", func() {
		const many = 3*v1alpha1.MaxRecent + 5
		b, _ := waiting()
		for i := range many {
			absorbed(makeRun(fmt.Sprintf("c-%d", i)).key("k").skip(), b)
		}
		b = wait(b, haveAbsorbed(many))
		Consistently(get("b")).Should(haveAbsorbed(many))
		Expect(len(b.Status.Coalesced.Recent)).To(BeNumerically("<=", v1alpha1.MaxRecent))
	})

	It("has its input cut to 1 KiB between runes", func() {
		b, _ := waiting()
		absorbed(makeRun("c").key("k").skip().input(`"`+strings.Repeat("鍵", 1000)+`"`), b)
		b = wait(b, haveAbsorbed(1))
		Expect(b.Status.Coalesced.Recent[0].Input).To(Equal(`"` + strings.Repeat("鍵", 341)))
	})
})

var _ = Describe("Retention", func() {
	It("deletes a run after its TTL", func() {
		a, j := leased(created(makeRun("a").key("k").ttl(3))) // longer than the time until the next sweep
		completeJob(j)
		a = wait(a, inPhase(v1alpha1.PhaseCompleted))
		Eventually(gone(a)).Should(BeTrue())
		Expect(time.Since(a.Status.CompletionTime.Time)).To(BeNumerically(">=", 3*time.Second))
	})

	It("deletes a receipt after its own TTL", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := absorbed(makeWorkerRun("b").key("k").skip().ttl(0), a)
		wait(b, inPhase(v1alpha1.PhaseCoalesced))
		Consistently(gone(b)).Should(BeFalse())
		cancel(a)
		Eventually(gone(b)).Should(BeTrue())
		Consistently(gone(a)).Should(BeFalse())
	})

	It("keeps a run until its receipts have their outcome", func() {
		const many = 70 // more than one reconcile handles
		_, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k").ttl(0)), inPhase(v1alpha1.PhasePending))
		var receipts []*v1alpha1.JobRun
		for i := range many {
			receipts = append(receipts, absorbed(makeRun(fmt.Sprintf("c-%d", i)).key("k").skip(), b))
		}
		wait(b, haveAbsorbed(many))
		completeJob(j)
		_, j = leased(b)
		completeJob(j)
		Eventually(gone(b)).Should(BeTrue())
		for _, c := range receipts {
			Expect(get(c.Name)()).To(haveCondition(v1alpha1.ConditionComplete))
		}
	})

	It("keeps only the latest receipts of a run, but the count of all", func() {
		options := production()
		options.ReceiptHistory = 5
		useControllers(options)
		const many = 60
		a := created(makeWorkerRun("a").key("k"))
		for i := range many {
			absorbed(makeWorkerRun(fmt.Sprintf("b-%02d", i)).key("k").skip(), a)
		}
		names := func() []string {
			var found []string
			for _, run := range runs() {
				if run.Name != "a" {
					found = append(found, run.Name)
				}
			}
			slices.Sort(found)
			return found
		}
		Eventually(get("a")).Should(haveAbsorbed(many))
		Eventually(names).Should(Equal([]string{"b-55", "b-56", "b-57", "b-58", "b-59"}))
		Consistently(get("a")).Should(haveAbsorbed(many))
	})
})
