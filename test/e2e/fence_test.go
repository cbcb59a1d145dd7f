// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// worker-1 held run a under generation 1 and gave it back. worker-2 holds it under generation 3 now. The specs write as an
// administrator, which shows that the schema fences and not a role.
var _ = Describe("A lease that is over", Ordered, ContinueOnFailure, func() {
	const lost = "this holder's lease was lost"

	var before v1alpha1.JobRun

	patch := func(status string) answer {
		GinkgoHelper()
		return try("patch", "jobrun", "a", "--subresource=status", "--type=merge", "--patch", `{"status": `+status+`}`)
	}
	claim := func(holder string, generation int) {
		GinkgoHelper()
		version, now := get("a").ResourceVersion, time.Now().UTC().Format(metav1.RFC3339Micro)
		kubectl("patch", "jobrun", "a", "--subresource=status", "--type=merge", "--patch", fmt.Sprintf(
			`{"metadata": {"resourceVersion": %q}, "status": {"phase": "Leased", "lease": {"holderIdentity": %q, "generation": %d, `+
				`"durationSeconds": 3600, "acquireTime": %q, "renewTime": %q}}}`, version, holder, generation, now, now))
	}

	BeforeAll(func() {
		useNamespace()
		apply(workerRun("a").key("k"))
		wait("a", "Pending")
		claim("worker-1", 1)
		kubectl("patch", "jobrun", "a", "--subresource=status", "--type=json", "--patch", fmt.Sprintf(
			`[{"op": "test", "path": "/status/lease/generation", "value": 1}, `+
				`{"op": "replace", "path": "/status/lease", "value": {"generation": 2, "keyVersion": %q}}]`, get("a").Status.Lease.KeyVersion))
		wait("a", "Pending")
		claim("worker-2", 3)
		before = get("a")
	})

	DescribeTable("does not allow", func(status, message string) {
		refused := patch(status)
		Expect(refused.Code).To(Equal(1), refused.String)
		Expect(refused.Stderr).To(ContainSubstring(`The JobRun "a" is invalid`))
		Expect(refused.Stderr).To(ContainSubstring(message))
		Expect(get("a")).To(Equal(before))
	},
		Entry("a completion", `{"phase": "Completed", "finishedGeneration": 1}`, "a terminal phase needs finishedGeneration equal to lease.generation: "+lost),
		Entry("a failure", `{"phase": "Failed", "finishedGeneration": 1, "error": "late"}`, "a terminal phase needs finishedGeneration equal to lease.generation: "+lost),
		Entry("a completion under the generation of the release", `{"phase": "Completed", "finishedGeneration": 2}`, lost),
		Entry("a completion without a generation", `{"phase": "Completed", "output": {"rows": 1}}`, "a terminal phase needs finishedGeneration equal to lease.generation: "+lost),
		Entry("progress", `{"progress": {"generation": 1, "current": 4}}`, "a changed status.progress needs its generation equal to lease.generation: "+lost),
		Entry("progress without a generation", `{"progress": {"current": 4}}`, "status.progress.generation: Required value"),
		Entry("a renewal", `{"lease": {"generation": 1, "renewTime": "2026-11-25T20:07:06.259816Z"}}`, "status.lease cannot be removed and its generation never falls"),
		Entry("another holder", `{"lease": {"holderIdentity": "worker-1"}}`, "status.lease.holderIdentity changes only with a higher generation"),
		Entry("a lease that is taken back as a whole", `{"lease": {"holderIdentity": "worker-1", "generation": 1}}`, "status.lease cannot be removed and its generation never falls"),
		Entry("a lease that is removed", `{"lease": null}`, "status.lease cannot be removed and its generation never falls"),
		Entry("a lease that is removed with the phase", `{"lease": null, "phase": "Pending"}`, "status.lease cannot be removed and its generation never falls"),
		Entry("a status that is removed", `null`, "status.lease cannot be removed and its generation never falls"),
	)

	It("does not keep its successor from completing the run", func() {
		kubectl("patch", "jobrun", "a", "--subresource=status", "--type=merge", "--patch", `{"status": {"phase": "Completed", "finishedGeneration": 3}}`)
		wait("a", "Complete")
	})

	It("does not allow changing the end that its successor wrote", func() {
		before = get("a")
		for _, status := range []string{
			`{"phase": "Completed", "finishedGeneration": 3, "error": "late"}`,
			`{"progress": {"generation": 3, "current": 4}}`,
			`{"lease": {"generation": 3, "renewTime": "2026-11-25T20:07:06.259816Z"}}`,
		} {
			refused := patch(status)
			Expect(refused.Stderr).To(ContainSubstring("these fields are final after the end"), status)
			Expect(get("a")).To(Equal(before))
		}
	})
})
