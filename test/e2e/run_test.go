// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A run", func() {
	BeforeEach(useNamespace)

	It("executes, and kubectl shows its result", func() {
		a := tryApply(run("hello", `echo "running $JOBRUN_NAME"; echo '{"synced": 42}' > "$result"`).key("acme"))
		Expect(succeeded(a)).To(Equal("jobrun.batch.jobrun.dev/hello created"))
		wait("hello", "Complete")

		lines := strings.Split(kubectl("get", "jobruns"), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "JOB", "PHASE", "RUN", "COALESCED", "AGE", "KEY"}))
		Expect(strings.Fields(lines[1])).To(HaveExactElements("hello", job, "Completed", "hello", Not(BeEmpty()), "acme"))
		lines = strings.Split(kubectl("get", "jr", "hello", "-o", "wide"), "\n")
		Expect(strings.Fields(lines[0])).To(ContainElements("HOLDER", "ATTEMPTS", "ERROR"))
		Expect(strings.Fields(lines[1])).To(ContainElement("job/hello-1"))

		Expect(kubectl("get", "jobrun", "hello", "-o", "jsonpath={.status.output}")).To(MatchJSON(`{"synced": 42}`))
		Expect(kubectl("logs", "--selector=batch.jobrun.dev/run=hello")).To(Equal("running hello"))
		Eventually(kubectl).WithArguments("events", "--for=jobrun/hello").Should(And(
			ContainSubstring("RunTriggered"), ContainSubstring("RunLeased"), ContainSubstring("RunCompleted")))
	})

	It("passes its input on unchanged, and returns text that is not JSON", func() {
		const (
			input = `{"text": "\"quotes\" and 'quotes', $(HOME) $HOME $$, 🚀"}`
			key   = `it's "acme" $(HOME) 🚀`
		)
		apply(run("env", `printf '%s\n' "$JOBRUN_NAME" "$JOBRUN_NAMESPACE" "$JOBRUN_JOB_NAME" \
			"$JOBRUN_CONCURRENCY_KEY" "$JOBRUN_GENERATION" "$JOBRUN_KEY_VERSION" "$JOBRUN_INPUT" > "$result"`).key(key).input(input))
		wait("env", "Complete")

		var output string
		status := get("env").Status
		Expect(json.Unmarshal(status.Output.Raw, &output)).To(Succeed())
		lines := strings.Split(output, "\n")
		Expect(lines[:6]).To(Equal([]string{"env", ns, job, key, "1", status.Lease.KeyVersion}))
		Expect(lines[6:]).To(HaveExactElements(MatchJSON(input)))
	})

	It("fails when its command does", func() {
		apply(run("broken", "echo no such org >&2; exit 3").key("acme"))
		wait("broken", "Failed")
		status := get("broken").Status
		Expect(status.Error).To(Equal("BackoffLimitExceeded: container main exited with code 3 (Error): no such org"))
		Expect(status.Failure).To(HaveValue(Equal(v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "no such org"})))
		Expect(status.Conditions).To(ContainElement(And(HaveField("Type", "Failed"), HaveField("Reason", "BackoffLimitExceeded"))))
		Eventually(takenKeys).Should(BeEmpty())
		Expect(kubectl("logs", "--selector=batch.jobrun.dev/run=broken")).To(Equal("no such org"))
	})

	DescribeTable("is not changed by applying the same manifest again", func(command ...string) {
		succeeded(tryWith(handWritten, command...))
		wait("twice", "Complete")
		Eventually(takenKeys).Should(BeEmpty())
		before := versions()
		again := tryWith(handWritten, command...)
		Expect(again.Code).To(BeZero(), again.String)
		Expect(again.Stderr).To(BeEmpty())
		Expect(versions()).To(Equal(before))
	},
		Entry("on the client", "apply", "-f", "-"),
		Entry("on the server", "apply", "--server-side", "-f", "-"),
	)

	It("is deleted with its Job after its TTL", func() {
		apply(run("short", quick).ttl(1), run("kept", quick))
		kubectl("wait", "jobrun/short", "--for=delete", "--timeout="+patience.String())
		wait("kept", "Complete")
		Eventually(names).WithArguments("jobs").Should(ConsistOf("kept-1"))
	})

	It("gets its name from the operator with generateName", func() {
		m := run("", quick)
		m.obj.GenerateName = "nightly-"
		Expect(succeeded(tryWith(asYAML(m), "create", "-f", "-"))).To(MatchRegexp(`^jobrun.batch.jobrun.dev/nightly-\w{10} created$`))
		wait(names("jobruns")[0], "Complete")
	})

	It("is refused if it is invalid, and takes no key", func() {
		refuse := func(m manifest, field string) {
			GinkgoHelper()
			a := tryWith(asYAML(m), "create", "-f", "-")
			Expect(a.Code).To(Equal(1), a.String)
			Expect(a.Stderr).To(ContainSubstring(field))
		}
		refuse(run("bad", quick).of("").key("acme"), "spec.jobName")
		refuse(run("bad", quick).of("Not_A_Label").key("acme"), "spec.jobName")
		refuse(run("bad", quick).skip(), "spec.coalesce")
		refuse(run("bad", quick).key(strings.Repeat("k", 5000)), "spec.concurrencyKey")
		refuse(run("bad", quick).key("acme").input(`"`+strings.Repeat("i", 1<<20)+`"`), "spec.input")
		refuse(run(strings.Repeat("n", 60), quick).key("acme"), "metadata.name")
		Expect(versions()).To(BeEmpty())
	})

	It("is explained by kubectl explain", func() {
		explain := func(field string) string { // without kubectl's line breaks
			GinkgoHelper()
			return strings.Join(strings.Fields(kubectl("explain", field)), " ")
		}
		Expect(explain("jobrun.spec")).To(And(
			ContainSubstring("jobName <string> -required-"), ContainSubstring("input is any JSON value for the Job or the worker")))
		Expect(explain("jobrun.spec.concurrencyKey")).To(ContainSubstring("at most one run executes and at most one waits"))
		Expect(explain("runkey.spec")).To(ContainSubstring("the run that waits for the key"))
	})
})

// handWritten is a manifest with values that a typed client would write in another form.
const handWritten = `
apiVersion: batch.jobrun.dev/v1alpha1
kind: JobRun
metadata:
  name: twice
spec:
  jobName: sync
  concurrencyKey: acme
  input: {org: acme, ratio: 1.0, none: null}
  template:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: main
            image: busybox:1.37
            command: ["true"]
            resources: {requests: {cpu: 1000m, memory: 0.5Gi}}
`
