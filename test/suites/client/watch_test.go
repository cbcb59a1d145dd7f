// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

var _ = Describe("Watch", func() {
	It("delivers the events of a run's life", func() {
		events := startWatch(jobrun.Selector{ConcurrencyKey: "k"})
		executing, pending := busy("k")
		receipt := skipping(job("k"))
		receipt.Input = &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)}
		trigger(receipt, jobrun.WithName("b"), jobrun.WithLabels(map[string]string{"env": "prod"}))
		trigger(skipping(job("k")), jobrun.WithName("c"))
		trigger(worker(), jobrun.WithName("other"))
		Eventually(events.of(pending)).Should(HaveLen(3))
		complete(executing, "")
		fail(pending, "no rows")
		Eventually(events.of(pending)).Should(HaveLen(5))
		Expect(runs.Delete(ctx, pending)).To(Succeed())

		Eventually(events.of(executing)).Should(Equal([]string{"trigger", "leased", "complete"}))
		Eventually(events.of(pending)).Should(Equal([]string{"trigger", "coalesced b", "coalesced c", "leased", "fail", "delete"}))
		Expect(events.of("b")()).To(BeEmpty())
		Expect(events.of("other")()).To(BeEmpty())
		for _, e := range events.events {
			if e.Skipped != nil && e.Skipped.Name == "b" {
				Expect(e.Skipped.Input).To(MatchJSON(`{"org":"acme"}`))
				Expect(e.Skipped.Labels).To(Equal(map[string]string{"env": "prod"}))
			}
		}
	})

	It("delivers a worker's progress and the cancellation of a run", func() {
		events := startWatch(jobrun.Selector{})
		a := trigger(worker(), jobrun.WithName("a")).JobRun.Name
		Eventually(get(a)).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		Expect(work(a, claim)).To(Succeed())
		Expect(work(a, progress(1))).To(Succeed())
		Expect(work(a, progress(2))).To(Succeed())
		Expect(runs.Cancel(ctx, a)).To(Succeed())
		Eventually(events.of(a)).Should(Equal([]string{"trigger", "leased", "progress", "progress", "cancel"}))
	})

	It("delivers every absorbed trigger once, even if connections are cut and receipts are deleted", func() {
		_, pending := busy("k")
		events := startWatch(jobrun.Selector{ConcurrencyKey: "k"})
		const many = 60
		for i := range many {
			trigger(skipping(job("k")), jobrun.WithName(fmt.Sprint("c-", i)))
			if i%10 == 0 {
				wire.cut()
			}
		}
		told := func() map[string]int {
			events.mu.Lock()
			defer events.mu.Unlock()
			found := map[string]int{}
			for _, e := range events.events {
				if e.Type == jobrun.EventCoalesced && e.Run.Name == pending {
					if e.Skipped != nil {
						found[e.Skipped.Name]++
					}
					found["all"] += int(e.Count)
				}
			}
			return found
		}
		Eventually(get(pending)).Should(HaveField("Status.Coalesced", HaveValue(HaveField("Count", BeEquivalentTo(many)))))
		Eventually(told).Should(HaveKeyWithValue("all", many))
		Consistently(told).Should(HaveKeyWithValue("all", many))
		for name, n := range told() {
			Expect(name == "all" || n == 1).To(BeTrue(), "%s was delivered %d times", name, n)
		}
	})
})
