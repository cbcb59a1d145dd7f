// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const cancel = `{"spec":{"cancel":true}}`

var _ = Describe("The end of a run", func() {
	BeforeEach(useNamespace)

	It("comes when it is cancelled while it executes, after the end of its Job and Pods", func() {
		apply(run("a", family).key("acme"))
		wait("a", "Leased")
		kubectl("patch", "jobrun", "a", "--type=merge", "--patch", cancel)
		wait("a", "Cancelled")
		Expect(names("jobs")).To(BeEmpty())
		Expect(names("pods")).To(BeEmpty())
		Eventually(takenKeys).Should(BeEmpty())
	})

	It("comes when it is cancelled while it waits, and the run that executes goes on", func() {
		apply(run("a", busy).key("acme"))
		wait("a", "Leased")
		apply(run("b", quick).key("acme"))
		wait("b", "Pending")
		kubectl("patch", "jobrun", "b", "--type=merge", "--patch", cancel)
		wait("b", "Cancelled")
		Expect(get("a").Status.Phase).To(Equal(v1alpha1.PhaseLeased))
		Expect(names("jobs")).To(ConsistOf("a-1"))
		again := tryWith(`{"spec":{"cancel":false}}`, "patch", "jobrun", "b", "--type=merge", "--patch-file=/dev/stdin")
		Expect(again).To(And(HaveField("Code", 1), HaveField("Stderr", ContainSubstring("a cancelled run stays cancelled"))))
	})

	It("ends the whole process group", Label(local), func() {
		apply(run("cancelled", family).key("acme"), run("deleted", family).key("globex"))
		var groups []int
		for _, name := range []string{"cancelled", "deleted"} {
			groups = append(groups, processGroup(name))
		}
		kubectl("patch", "jobrun", "cancelled", "--type=merge", "--patch", cancel)
		kubectl("delete", "jobrun", "deleted")
		wait("cancelled", "Cancelled")
		Expect(members(groups[0])).To(BeEmpty())
		Eventually(members).WithArguments(groups[1]).Should(BeEmpty())
		Eventually(takenKeys).Should(BeEmpty())
	})

	It("may be its deletion, after which its name can be used again at once", func() {
		apply(run("executes", busy).key("acme"), run("before", busy).key("globex"))
		wait("executes", "Leased")
		wait("before", "Leased")
		apply(run("waits", busy).key("globex"))
		wait("waits", "Pending")
		for name, key := range map[string]string{"executes": "acme", "waits": "globex"} {
			kubectl("delete", "jobrun", name)
			apply(run(name, `echo '"second"' > "$result"`).key(key))
		}
		kubectl("delete", "jobrun", "before")
		for _, name := range []string{"executes", "waits"} {
			wait(name, "Complete")
			Expect(get(name).Status.Output.Raw).To(MatchJSON(`"second"`))
		}
		Eventually(takenKeys).Should(BeEmpty())
	})
})
