// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("The metrics", Label(local), func() {
	It("count triggers by their answers", func() {
		useNamespace()
		triggers := func() (sum float64) {
			GinkgoHelper()
			for _, m := range liveManagers() {
				Eventually(func() error { // a manager is ready before its metrics are served
					families, err := scrape(m)
					sum += families.Sum("jobrun_triggers_total")
					return err
				}).Should(Succeed())
			}
			return sum
		}
		before := triggers()
		apply(run("a", quick), run("b", quick))
		Expect(triggers()).To(Equal(before + 2))
	})
})
