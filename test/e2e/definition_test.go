// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// untilNextMinute is the longest time until a schedule of each minute fires, and some time for the operator.
const untilNextMinute = time.Minute + patience

var _ = Describe("A defined job", Label(local), func() {
	const greet = `
apiVersion: batch.jobrun.dev/v1alpha1
kind: JobDefinition
metadata: {name: greet}
spec:
  inputSchema:
    openAPIV3Schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 40}}}
  concurrencyKeyExpression: input.name
  template:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: main
            image: busybox
            command: [sh, -c, 'echo "\"hello $JOBRUN_INPUT_NAME\"" > "$JOBRUN_TERMINATION_LOG"']
  schedules:
  - {name: minutely, schedule: "* * * * *", input: {name: clock}}
`
	const trigger = "{apiVersion: batch.jobrun.dev/v1alpha1, kind: JobRun, metadata: {name: a}, spec: {jobName: greet, input: {name: ann}}}"

	BeforeEach(func() {
		useNamespace()
		DeferCleanup(func() { kubectl("delete", "jobdefinitions", "--all") })
	})

	It("is triggered by name and input, and by its schedule", func() {
		succeeded(tryWith(greet+"---\n"+trigger, "apply", "-f", "-"))
		wait("a", v1alpha1.ConditionComplete)
		Expect(kubectl("get", "jobrun", "a", "-o", "jsonpath={.spec.concurrencyKey} {.status.output}")).To(Equal("ann hello ann"))

		scheduled := func() string {
			return kubectl("get", "jobruns", "-l", v1alpha1.LabelSchedule+"=minutely", "-o", "jsonpath={.items[*].status.output}")
		}
		Eventually(scheduled).WithTimeout(untilNextMinute).Should(ContainSubstring("hello clock"))
		Eventually(func() string {
			return kubectl("get", "jobdefinition", "greet", "-o", "jsonpath={.status.schedules[0].lastResult} {.status.lastOutcome}")
		}).Should(Equal("Created Completed"))
	})

	It("is not triggered while an older replica works, and nothing is reserved", func() {
		giveUp := joinOlder()
		succeeded(tryWith(greet, "apply", "-f", "-"))
		create := func(args ...string) answer {
			return tryWith(trigger, append([]string{"create", "-f", "-"}, args...)...)
		}
		refused := HaveField("Stderr", And(ContainSubstring("(ServiceUnavailable)"), ContainSubstring("a replica of the operator is of an older version")))
		Eventually(create).WithArguments("--dry-run=server").Should(refused)
		Expect(create()).To(refused)
		Expect(names("jobruns,runkeys")).To(BeEmpty())
		giveUp()
		Eventually(create).WithArguments("--dry-run=server").Should(HaveField("Code", 0))
		succeeded(create())
		wait("a", v1alpha1.ConditionComplete)
	})
})
