// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// nested returns arrays of so many levels.
func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func completion(run *v1alpha1.JobRun, output string) string {
	return fmt.Sprintf(`{"status":{"phase":"Completed","finishedGeneration":%d,"output":%s}}`, run.Status.Lease.Generation, output)
}

var _ = Describe("An output of a worker", func() {
	expectRefusal := func(err error, text string) {
		GinkgoHelper()
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(fields(refusal(err))).To(ConsistOf("status.output"), "%v", err)
		Expect(err).To(MatchError(ContainSubstring(text)))
	}

	DescribeTable("gets a 422 that names the field, and changes nothing, if it has",
		func(output, text string) {
			a := claim(pending(created(makeWorkerRun("a").key("k"))), "worker", 30)
			expectRefusal(patchStatus(a, completion(a, output)), text)
			Expect(get("a")()).To(And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.Output", BeNil())))
		},
		Entry("65 levels", nested(65), "at most 64 levels"),
		Entry("2,000 levels", nested(2000), "at most 64 levels"), // The API server takes seconds for many more.
		Entry("2,000 levels of objects", strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000), "at most 64 levels"),
		Entry("more than 256 KiB", `"`+strings.Repeat("x", 256<<10)+`"`, "262144 bytes"),
		Entry("1.6 MB, more than etcd takes", `"`+strings.Repeat("x", 1600000)+`"`, "262144 bytes"),
	)

	It("may have 64 levels and 256 KiB, and is compared at a cost that the API server allows", func() {
		a := claim(pending(created(makeWorkerRun("a").key("k"))), "worker", 30)
		numbers := nested(63) + strings.Repeat(",1", 100<<10)
		Expect(patchStatus(a, completion(a, "["+numbers+"]"))).To(Succeed())
		a = wait(a, haveCondition(v1alpha1.ConditionComplete))
		expectRefusal(patchStatus(a, `{"status":{"output":[`+numbers+`,2]}}`), "final")
	})

	It("may have 200 KiB of characters that the API server escapes with six bytes", func() {
		a := claim(pending(created(makeWorkerRun("a").key("k"))), "worker", 30)
		err := patchStatus(a, completion(a, `"`+strings.Repeat("<", 256<<10-2)+`"`))
		Expect(err).To(MatchError(ContainSubstring("request is too large")), "etcd takes 1.5 MiB")
		Expect(patchStatus(a, completion(a, `"`+strings.Repeat("<", 200<<10)+`"`))).To(Succeed())
		wait(a, haveCondition(v1alpha1.ConditionComplete))
	})

	It("cannot change once the run has ended, on its receipts neither", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		b := absorbed(makeWorkerRun("b").key("k").skip(), a)
		a = claim(wait(a, haveAbsorbed(1)), "worker", 30)
		Expect(patchStatus(a, completion(a, `{"n":1}`))).To(Succeed())
		for _, run := range []*v1alpha1.JobRun{a, b} {
			run = wait(run, haveCondition(v1alpha1.ConditionComplete))
			expectRefusal(patchStatus(run, `{"status":{"output":{"n":2}}}`), "final")
			expectRefusal(patchStatus(run, `{"status":{"output":null}}`), "final")
			Expect(patchStatus(run, `{"status":{"output":{"n":1}}}`)).To(Succeed(), "a request that is sent again")
		}
	})
})
