// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("Two controllers at the same time", Ordered, func() {
	const many = 20
	BeforeAll(func() { useControllers(production(), production()) })
	BeforeEach(func() { seen.tolerate(ns) })

	made := func(b func(name string) builder) []*v1alpha1.JobRun {
		GinkgoHelper()
		var all []*v1alpha1.JobRun
		for i := range many {
			all = append(all, created(b(fmt.Sprintf("a-%d", i))))
		}
		return all
	}

	It("count an expired lease once", func() {
		risen := expirations("")
		all := made(makeWorkerRun)
		for _, a := range all {
			claim(a, "worker", 1)
		}
		for _, a := range all {
			wait(a, And(inPhase(v1alpha1.PhasePending), HaveField("Status.Attempts", BeEquivalentTo(1)),
				HaveField("Status.Lease.Generation", BeEquivalentTo(2))))
		}
		Consistently(risen).Should(Equal(many))
	})

	It("create one Job for each run, and one after each Job that vanished", func() {
		risen := expirations("")
		all := made(func(name string) builder { return makeRun(name).key(name) })
		for _, a := range all {
			_, j := leased(a)
			remove(j)
		}
		for _, a := range all {
			wait(a, HaveField("Status.Lease.Generation", BeEquivalentTo(3)))
			a, j := leased(a)
			Expect(a.Status.Attempts).To(BeEquivalentTo(1))
			Expect(metav1.GetControllerOf(j).UID).To(Equal(a.UID))
		}
		Consistently(func() int { return len(jobs()) }).Should(Equal(many))
		Expect(risen()).To(Equal(many))
	})

	It("count a receipt once", func() {
		a := created(makeWorkerRun("a").key("k"))
		for i := range many {
			absorbed(makeWorkerRun(fmt.Sprintf("b-%d", i)).key("k").skip(), a)
		}
		wait(a, haveAbsorbed(many))
		Consistently(get("a")).Should(haveAbsorbed(many))
	})
})
