// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A trigger", func() {
	It("is answered with its own run when its key is free", func() {
		risen := counts("jobrun_triggers_total", "Created")
		a := created(makeWorkerRun("a").key("k"))

		Expect(a.Spec.Admission.Token).To(And(Not(BeEmpty()), Equal(a.Spec.Admission.RunToken)))
		Expect(a.Spec.Admission.KeyVersion).To(BeEmpty())
		Expect(a.Labels).To(Equal(map[string]string{
			v1alpha1.LabelJobName:     job,
			v1alpha1.LabelKey:         v1alpha1.ConcurrencyKeyName(job, "k"),
			v1alpha1.LabelDisposition: "created",
			v1alpha1.LabelExecutor:    "worker",
		}))
		Expect(keyOf("k").Pending).To(HaveValue(And(HaveField("RunName", "a"), HaveField("Token", a.Spec.Admission.Token))))
		Expect(risen()).To(Equal(1))
	})

	It("without keys takes no RunKey", func() {
		a := created(makeWorkerRun("a"))
		Expect(a.Labels).NotTo(HaveKey(v1alpha1.LabelKey))
		Expect(keys()).To(BeEmpty())
	})

	It("is absorbed by the run that waits, and the answer names that run", func() {
		a := created(makeWorkerRun("a").key("k"))
		risen := counts("jobrun_triggers_total", "Coalesced")
		b, texts, err := trigger(makeWorkerRun("b").key("k").skip())

		Expect(err).NotTo(HaveOccurred())
		Expect(b).To(beAnswered(v1alpha1.DispositionCoalesced, "a"))
		Expect(b.Spec.Admission.RunToken).To(Equal(a.Spec.Admission.Token))
		Expect(b.Spec.Admission.KeyVersion).NotTo(BeEmpty())
		Expect(b.Labels).To(HaveKeyWithValue(v1alpha1.LabelDisposition, "coalesced"))
		Expect(texts).To(ConsistOf(And(ContainSubstring("coalesced"), ContainSubstring("run a "))))
		Expect(risen()).To(Equal(1))
	})

	It("is refused with a 409 that names the run that waits, and takes no key", func() {
		created(makeWorkerRun("a").key("k"))
		risen := counts("jobrun_trigger_conflicts_total", "")
		_, _, err := trigger(makeWorkerRun("b").key("k").delivery("d"))

		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		status := refusal(err)
		Expect(status.Code).To(BeEquivalentTo(http.StatusConflict))
		Expect(status.Message).To(ContainSubstring("run a is pending"))
		Expect(status.Details.Causes).To(ContainElement(And(
			HaveField("Type", v1alpha1.CausePendingRun), HaveField("Field", "spec.concurrencyKey"), HaveField("Message", "a"),
		)))
		Expect(deliveryOf("d")).To(BeNil())
		Expect(keyOf("k").Pending.RunName).To(Equal("a"))
		Expect(risen()).To(Equal(1))
	})

	It("waits behind the run that executes", func() {
		a, _ := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		absorbed(makeRun("c").key("k").skip(), b)
		Expect(keyOf("k")).To(HaveValue(And(
			HaveField("Leased.Token", a.Spec.Admission.Token), HaveField("Pending.Token", b.Spec.Admission.Token))))
	})

	It("does not contend with another key, another job or another namespace", func() {
		created(makeWorkerRun("a").key("k"))
		created(makeWorkerRun("b").key("other"))
		created(makeWorkerRun("c").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.JobName = "other" }))
		created(makeWorkerRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Namespace = newNamespace() }))
	})

	It("has its key compared byte for byte", func() {
		for i, key := range []string{"k", "K", "k ", "a/b/../c", `"quoted" 'twice'`, "🔑 für 鍵", "$(JOBRUN_NAME)"} {
			created(makeWorkerRun(fmt.Sprintf("run-%d", i)).key(key))
			Expect(keyOf(key)).To(HaveValue(HaveField("Key", key)))
		}
	})

	It("cannot forge what the webhook writes", func() {
		a := created(makeWorkerRun("a").key("k").
			label(v1alpha1.LabelKey, "forged").label(v1alpha1.LabelDisposition, "idempotent").label("mine", "stays").
			with(func(r *v1alpha1.JobRun) {
				r.Spec.Admission = &v1alpha1.Admission{Disposition: "Bogus", RunName: "x", RunToken: "y", KeyVersion: "1", Token: "z"}
				r.Status.Phase = v1alpha1.PhaseCompleted
			}))
		Expect(a.Spec.Admission.Token).NotTo(Equal("z"))
		Expect(a.Spec.Admission.KeyVersion).To(BeEmpty())
		Expect(a.Labels).To(And(
			HaveKeyWithValue(v1alpha1.LabelKey, v1alpha1.ConcurrencyKeyName(job, "k")),
			HaveKeyWithValue(v1alpha1.LabelDisposition, "created"),
			HaveKeyWithValue("mine", "stays")))
		Expect(a.Status.Phase).To(BeEmpty())
	})

	It("may leave its name to the operator", func() {
		generated := func(prefix string, b builder) *v1alpha1.JobRun {
			return created(b.with(func(r *v1alpha1.JobRun) { r.Name, r.GenerateName = "", prefix }))
		}
		a := generated("nightly-", makeWorkerRun("").key("k"))
		Expect(a.Name).To(MatchRegexp(`^nightly-[a-z0-9]{10}$`))
		Expect(keyOf("k").Pending.RunName).To(Equal(a.Name))

		long := "a-name-that-is-far-too-long-to-become-the-name-of-a-job-"
		Expect(generated(long, makeRun("")).Name).To(HaveLen(v1alpha1.MaxTemplateRunName))
	})

	It("is answered as usual in a dry run, which changes nothing", func() {
		risen := counts("jobrun_triggers_total", "")
		a, _, err := trigger(makeWorkerRun("a").key("k").delivery("d"), client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(a).To(beAnswered(v1alpha1.DispositionCreated, "a"))
		Expect(keys()).To(BeEmpty())
		Expect(risen()).To(BeZero())

		created(makeWorkerRun("a").key("k").delivery("d"))
		before := keys()
		risen = counts("jobrun_triggers_total", "")
		b, texts, err := trigger(makeWorkerRun("b").key("k").skip(), client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(b).To(beAnswered(v1alpha1.DispositionCoalesced, "a"))
		Expect(texts).To(HaveLen(1))
		c, texts, err := trigger(makeWorkerRun("c").key("k").delivery("d"), client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(c).To(beAnswered(v1alpha1.DispositionIdempotent, "a"))
		Expect(texts).To(HaveLen(1))
		_, _, err = trigger(makeWorkerRun("d").key("k"), client.DryRunAll)
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)

		Expect(keys()).To(Equal(before))
		Expect(runs()).To(HaveLen(1))
		Expect(risen()).To(BeZero())
	})
})
