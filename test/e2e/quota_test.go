// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const countOfJobRuns = "count/jobruns.batch.jobrun.dev"

// usedOf returns the number of JobRuns in the status of a quota. It is empty until the quota is counted.
func usedOf(quota string) string {
	GinkgoHelper()
	return kubectl("get", "quota", quota, `-o=jsonpath={.status.used.count/jobruns\.batch\.jobrun\.dev}`)
}

// limitRuns creates a quota of one JobRun, and returns its name once Kubernetes has counted the JobRuns. The quota
// controller learns of a new CRD after half a minute, and until then delays an uncounted quota of that name more and more.
func limitRuns() string {
	GinkgoHelper()
	const eachCountTakes = 5 * time.Second
	for end := time.Now().Add(patience); time.Now().Before(end); {
		name := fmt.Sprint("runs-", time.Now().Unix())
		kubectl("create", "quota", name, "--hard="+countOfJobRuns+"=1")
		for counted := time.Now().Add(eachCountTakes); time.Now().Before(counted); time.Sleep(100 * time.Millisecond) {
			if usedOf(name) != "" {
				return name
			}
		}
		kubectl("delete", "quota", name)
	}
	Fail("no quota was counted")
	return ""
}

var _ = Describe("A ResourceQuota of JobRuns", func() {
	It("refuses a trigger before its key is reserved, and only while it is full", func() {
		useNamespace()
		quota := limitRuns()
		apply(workerRun("first").key("acme"))
		wait("first", "Pending")
		Eventually(usedOf).WithArguments(quota).Should(Equal("1"))

		exceeded := fmt.Sprintf("exceeded quota: %[1]s, requested: %[2]s=1, used: %[2]s=1, limited: %[2]s=1", quota, countOfJobRuns)
		for _, command := range [][]string{{"create", "-f", "-"}, {"create", "--dry-run=server", "-f", "-"}} {
			Expect(tryWith(asYAML(workerRun("second").key("globex")), command...)).To(
				And(HaveField("Code", 1), HaveField("Stderr", ContainSubstring(exceeded))))
		}
		Expect(names("runkeys")).To(HaveLen(1))

		kubectl("delete", "jobrun", "first")
		Eventually(usedOf).WithArguments(quota).Should(Equal("0"))
		Eventually(func() answer { return tryApply(workerRun("second").key("globex")) }).Should(HaveField("Code", 0))
	})
})
