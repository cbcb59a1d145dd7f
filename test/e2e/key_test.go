// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("While one run executes and one waits for its key,", Ordered, func() {
	BeforeAll(func() {
		useNamespace()
		apply(run("first", busy).key("acme"))
		wait("first", "Leased")
		apply(run("next", `echo '"done"' > "$result"`).key("acme").label("env", "prod"))
		wait("next", "Pending")
	})

	third := func() manifest { return run("third", quick).key("acme") }

	It("a trigger without coalesce is refused, and the answer names the run that waits", func() {
		before := versions()
		for _, command := range [][]string{{"apply"}, {"apply", "--server-side"}, {"create"}} {
			a := tryWith(asYAML(third()), append(command, "-f", "-")...)
			Expect(a.Code).To(Equal(1), a.String)
			Expect(a.Stderr).To(ContainSubstring(`run next is pending for job "sync", concurrencyKey "acme"`))
		}
		Expect(versions()).To(Equal(before))
	})

	It("a dry run predicts the answer, and changes nothing", func() {
		before := versions()
		dryRun := func(m manifest) answer {
			GinkgoHelper()
			return tryWith(asYAML(m), "apply", "--dry-run=server", "-f", "-", "-o", "jsonpath={.spec.admission.disposition} {.spec.admission.runName}")
		}
		Expect(succeeded(dryRun(run("other", quick).key("free")))).To(Equal("Created other"))
		coalesced := dryRun(third().skip())
		Expect(succeeded(coalesced)).To(Equal("Coalesced next"))
		Expect(coalesced.Stderr).To(ContainSubstring("run next already waits"))
		Expect(dryRun(third())).To(And(HaveField("Code", 1), HaveField("Stderr", ContainSubstring("run next is pending"))))
		Expect(versions()).To(Equal(before))
	})

	It("a trigger with coalesce is absorbed, with a warning that names the run", func() {
		a := tryApply(third().skip())
		Expect(succeeded(a)).To(Equal("jobrun.batch.jobrun.dev/third created"))
		Expect(a.Stderr).To(MatchRegexp(`^Warning: jobrun third coalesced: run next already waits .*\n$`))
		wait("third", "Coalesced")
		Expect(strings.Fields(kubectl("get", "jobrun", "third", "--no-headers"))).To(
			HaveExactElements("third", job, "Coalesced", "next", Not(BeEmpty()), "acme"))
		Expect(strings.Fields(kubectl("get", "jobrun", "next", "--no-headers"))).To(
			HaveExactElements("next", job, "Pending", "next", "1", Not(BeEmpty()), "acme"))
	})

	It("runs of other keys, jobs and namespaces, and those without a key, go on", func() {
		elsewhere := newNamespace().Name
		succeeded(tryWith(asYAML(run("first", quick).key("acme")), "apply", "-f", "-", "--namespace="+elsewhere))
		apply(run("other-key", quick).key("globex"), run("other-job", quick).of("report").key("acme"),
			run("no-key-1", busy), run("no-key-2", busy), run("no-key-3", busy))
		wait("other-key", "Complete")
		wait("other-job", "Complete")
		for _, name := range []string{"no-key-1", "no-key-2", "no-key-3"} {
			wait(name, "Leased")
		}
		kubectl("wait", "jobrun/first", "--for=condition=Complete", "--timeout="+patience.String(), "--namespace="+elsewhere)
	})

	It("all of them are found by field and by label", func() {
		Expect(names("jobruns", "--field-selector=spec.jobName=sync,spec.concurrencyKey=acme")).To(ConsistOf("first", "next", "third"))
		Expect(names("jobruns", "--field-selector=status.phase=Pending")).To(ConsistOf("next"))
		Expect(names("jobruns", "--field-selector=spec.jobName=report")).To(ConsistOf("other-job"))

		key := v1alpha1.ConcurrencyKeyName(job, "acme")
		Expect(names("runkeys")).To(ConsistOf(key))
		Expect(names("jobruns", "--selector=batch.jobrun.dev/key="+key)).To(ConsistOf("first", "next", "third"))
		Expect(names("jobruns", "--selector=batch.jobrun.dev/disposition=coalesced")).To(ConsistOf("third"))
		Expect(names("jobruns", "--selector=batch.jobrun.dev/job-name=report")).To(ConsistOf("other-job"))
		Expect(names("jobs", "--selector=batch.jobrun.dev/key="+key)).To(ConsistOf("first-1"))
	})

	It("the run that waits starts when the other one ends, and its receipts get its outcome", func() {
		kubectl("patch", "jobrun", "first", "--type=merge", "--patch", `{"spec":{"cancel":true}}`)
		wait("third", "Complete")
		Expect(get("third").Status.Output.Raw).To(MatchJSON(`"done"`))
		Expect(get("next").Status.Coalesced.Recent).To(ConsistOf(HaveField("Name", "third")))
		wait("first", "Cancelled")
		Eventually(takenKeys).Should(BeEmpty())

		before := versions()
		again := tryApply(third().skip())
		Expect(succeeded(again)).To(Equal("jobrun.batch.jobrun.dev/third unchanged"))
		Expect(again.Stderr).To(BeEmpty())
		Expect(versions()).To(Equal(before))
	})
})

var _ = Describe("A trigger", func() {
	BeforeEach(useNamespace)

	It("that is delivered again starts nothing", func() {
		apply(run("delivery-1", `echo '"done"' > "$result"`).delivery("webhook-456"))
		a := tryApply(run("delivery-2", quick).delivery("webhook-456"))
		Expect(succeeded(a)).To(Equal("jobrun.batch.jobrun.dev/delivery-2 created"))
		Expect(a.Stderr).To(MatchRegexp(`^Warning: .*\bdelivery-1\b.*\n$`))
		wait("delivery-2", "Complete")
		Expect(get("delivery-2").Status).To(And(
			HaveField("Phase", v1alpha1.PhaseIdempotent), HaveField("RunRef.Name", "delivery-1")))
		Expect(names("jobs")).To(ConsistOf("delivery-1-1"))

		kubectl("delete", "jobrun", "delivery-1")
		Eventually(takenKeys).Should(BeEmpty())
		apply(run("delivery-3", quick).delivery("webhook-456"))
	})

	It("that was absorbed frees its idempotencyKey when its run is deleted after it", func() {
		apply(run("first", busy).key("acme"))
		wait("first", "Leased")
		apply(run("next", busy).key("acme"))
		wait("next", "Pending")
		Expect(tryApply(run("third", quick).key("acme").skip().delivery("webhook-456")).Stderr).To(HavePrefix("Warning: "))
		wait("third", "Coalesced")
		kubectl("delete", "jobrun", "third")
		kubectl("delete", "jobrun", "next", "first")
		Eventually(takenKeys).Should(BeEmpty())
	})

	It("in a namespace that is being deleted is refused, and busy keys do not block the deletion", func() {
		apply(run("first", busy).key("acme"))
		wait("first", "Leased")
		apply(run("next", busy).key("acme").delivery("once"))
		Expect(tryApply(run("third", busy).key("acme").skip()).Stderr).To(HavePrefix("Warning: "))
		kubectl("delete", "namespace", ns, "--wait=false")
		Expect(tryApply(run("late", quick).key("acme"))).To(And(
			HaveField("Code", 1), HaveField("Stderr", Or(ContainSubstring("being terminated"), ContainSubstring("not found")))))
		kubectl("wait", "namespace/"+ns, "--for=delete", "--timeout="+patience.String())
		var left batchv1.JobList
		Expect(k8s.List(ctx, &left, client.InNamespace(ns))).To(Succeed())
		Expect(left.Items).To(BeEmpty())
	})
})
