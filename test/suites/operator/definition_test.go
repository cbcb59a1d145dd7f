// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A defined job", func() {
	const syncUsers = `
inputSchema:
  openAPIV3Schema: {type: object, required: [org], properties: {org: {type: string, maxLength: 40}, full: {type: boolean, default: false}}}
concurrencyKeyExpression: '"org_" + input.org'
defaults: {coalesce: Skip, maxAttempts: 5}
overridable: [activeDeadlineSeconds]
`
	// definition returns a JobDefinition sync as its author writes it.
	definition := func(spec string) *unstructured.Unstructured {
		GinkgoHelper()
		var fields map[string]any
		Expect(yaml.Unmarshal([]byte(spec), &fields)).To(Succeed())
		d := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
		d.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobDefinition"))
		d.SetNamespace(ns)
		d.SetName("sync")
		return d
	}
	define := func(spec string) *unstructured.Unstructured {
		GinkgoHelper()
		d := definition(spec)
		Expect(k8s.Create(ctx, d)).To(Succeed())
		DeferCleanup(func() { Expect(client.IgnoreNotFound(k8s.Delete(ctx, d))).To(Succeed()) })
		return d
	}

	It("completes a trigger that comes right after the definition, and the answer shows it", func() {
		d := define(syncUsers)
		Expect(k8s.Create(ctx, manifest("a", "\n  jobName: sync\n  input: {org: acme}"))).To(Succeed())
		a, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		Expect(a.Spec.Input.Raw).To(MatchJSON(`{"org": "acme", "full": false}`))
		Expect(a.Spec.ConcurrencyKey).To(Equal("org_acme"))
		Expect(a.Spec.Coalesce).To(Equal(v1alpha1.CoalesceSkip))
		Expect(a.Spec.MaxAttempts).To(BeEquivalentTo(5))
		Expect(a.Spec.OnLeaseExpired).To(Equal(v1alpha1.OnLeaseExpiredFail))
		Expect(a.Spec.OnJobLost).To(Equal(v1alpha1.OnJobLostRequeue))
		Expect(a.Spec.Admission.Executor).To(Equal(v1alpha1.ExecutorWorker))
		Expect(a.Spec.Admission.Definition).To(HaveValue(Equal(v1alpha1.DefinitionReference{Name: "sync", UID: d.GetUID(), Generation: 1})))
		Expect(a.Labels).To(HaveKeyWithValue(v1alpha1.LabelExecutor, "worker"))

		Expect(k8s.Create(ctx, manifest("b", "\n  jobName: sync\n  input: {org: acme, full: true}"))).To(Succeed())
		b, err := get("b")()
		Expect(err).NotTo(HaveOccurred())
		Expect(b).To(beAnswered(v1alpha1.DispositionCoalesced, "a"))
	})

	It("refuses an input that does not fit with every field, and takes no key", func() {
		define(syncUsers)
		err := k8s.Create(ctx, manifest("a", "\n  jobName: sync\n  input: {org: 5, unknown: 1, full: x}"))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(fields(refusal(err))).To(ConsistOf("spec.input.full", "spec.input.org", "spec.input.unknown"), "%v", err)
		Expect(keys()).To(BeEmpty())
	})

	It("is not completed again by an update, and a replace without the defaults works", func() {
		d := define(syncUsers)
		a := manifest("a", "\n  jobName: sync\n  input: {org: acme, full: true}\n  concurrencyKey: org_acme\n  coalesce: Skip")
		Expect(k8s.Create(ctx, a)).To(Succeed())
		Expect(unstructured.SetNestedField(d.Object, `"other"`, "spec", "concurrencyKeyExpression")).To(Succeed())
		Expect(k8s.Update(ctx, d)).To(Succeed())

		again := manifest("a", "\n  jobName: sync\n  input: {org: acme, full: true}\n  concurrencyKey: org_acme\n  coalesce: Skip\n  cancel: true")
		again.SetResourceVersion(a.GetResourceVersion())
		Eventually(func() error {
			stored, err := get("a")()
			if err == nil {
				again.SetResourceVersion(stored.ResourceVersion)
				err = k8s.Update(ctx, again)
			}
			return err
		}).Should(Succeed())
		stored, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		Expect(stored.Spec.ConcurrencyKey).To(Equal("org_acme"))
		Expect(stored.Spec.MaxAttempts).To(BeEquivalentTo(5))
		Expect(stored.Spec.Admission.Definition.Generation).To(BeEquivalentTo(1))
	})

	DescribeTable("with a mistake is refused when it is written",
		func(spec, field string) {
			err := k8s.Create(ctx, definition(spec))
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			Expect(fields(refusal(err))).To(ConsistOf(field), "%v", err)
		},
		Entry("a schema that is not structural", "inputSchema: {openAPIV3Schema: {properties: {}}}", "spec.inputSchema.openAPIV3Schema.type"),
		Entry("an expression over an unknown field", "inputSchema: {openAPIV3Schema: {type: object}}\nconcurrencyKeyExpression: input.org", "spec.concurrencyKeyExpression"),
		Entry("an expression of a number", `concurrencyKeyExpression: "5"`, "spec.concurrencyKeyExpression"),
		Entry("a schedule whose input does not fit",
			syncUsers+"schedules: [{name: a, schedule: '@daily', input: {org: 5}}]", "spec.schedules[0].input.org"),
		Entry("a template without a container", "template: {spec: {template: {spec: {restartPolicy: Never, containers: []}}}}",
			"spec.template.spec.template.spec.containers"),
	)

	It("can be labelled, and changed to a valid one only", func() {
		d := define("description: x")
		d.SetLabels(map[string]string{"team": "a"})
		Expect(k8s.Update(ctx, d)).To(Succeed())
		Expect(unstructured.SetNestedField(d.Object, "input +", "spec", "concurrencyKeyExpression")).To(Succeed())
		Expect(apierrors.IsInvalid(k8s.Update(ctx, d))).To(BeTrue())
	})
})
