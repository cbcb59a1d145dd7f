// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
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

	withImage := func(image string) string {
		return "{spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: " + image + "}]}}}}"
	}
	// createdAs triggers the job as somebody who knows its name and its input.
	createdAs := func(name string) *v1alpha1.JobRun {
		GinkgoHelper()
		Expect(k8s.Create(ctx, manifest(name, "\n  jobName: sync\n  input: {org: acme}"))).To(Succeed())
		run, err := get(name)()
		Expect(err).NotTo(HaveOccurred())
		return run
	}
	// redefine sets a field. The operator may write the status meanwhile.
	redefine := func(d *unstructured.Unstructured, value any, fields ...string) {
		GinkgoHelper()
		Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
			if err := k8s.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
				return err
			}
			if err := unstructured.SetNestedField(d.Object, value, fields...); err != nil {
				return err
			}
			return k8s.Update(ctx, d)
		})).To(Succeed())
	}

	It("starts a run by the template as it is when the run starts", func() {
		d := define(syncUsers + "suspend: true\ntemplate: " + withImage("old"))
		a := createdAs("a")
		a = wait(a, saying("held back: JobDefinition sync is suspended"))
		Expect(a.Status.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(a.Spec.Template).To(BeNil())
		Expect(a.Labels).To(HaveKeyWithValue(v1alpha1.LabelExecutor, "job"))
		Expect(jobs()).To(BeEmpty())

		newer := map[string]any{}
		Expect(yaml.Unmarshal([]byte(withImage("new")), &newer)).To(Succeed())
		redefine(d, newer, "spec", "template")
		redefine(d, false, "spec", "suspend")
		a, j := leased(a)
		Expect(j.Spec.Template.Spec.Containers[0].Image).To(Equal("new"))
		Expect(j.Spec.Template.Spec.Containers[0].Env).To(ContainElement(corev1.EnvVar{Name: "JOBRUN_INPUT_ORG", Value: "acme"}))
		Expect(a.Status.Definition).To(HaveValue(Equal(v1alpha1.DefinitionReference{Name: "sync", UID: d.GetUID(), Generation: 3})))
		Expect(a.Status.Error).To(BeEmpty())

		Expect(k8s.Delete(ctx, d)).To(Succeed()) // The run needs it no more.
		endPod(startPod(j), `{"synced": 42}`)
		completeJob(j)
		a = wait(a, haveCondition(v1alpha1.ConditionComplete))
		Expect(a.Status.Output.Raw).To(MatchJSON(`{"synced": 42}`))
	})

	It("keeps its runs waiting while it is gone or of the other executor", func() {
		d := define(syncUsers)
		a := pending(createdAs("a"))
		Expect(k8s.Delete(ctx, d)).To(Succeed())
		a = wait(a, saying("held back: JobDefinition sync does not exist"))
		_, err := tryClaim(a, "worker")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("JobDefinition sync does not exist")))

		other := define(syncUsers + "template: " + withImage("i"))
		a = wait(a, saying("held back: JobDefinition sync now has the executor Job, and this run needs Worker"))
		Expect(jobs()).To(BeEmpty())

		Expect(k8s.Delete(ctx, other)).To(Succeed())
		define(syncUsers)
		a = wait(a, HaveField("Status.Error", BeEmpty()))
		Eventually(func() error {
			a, err = get("a")()
			if err == nil {
				a, err = tryClaim(a, "worker")
			}
			return err
		}).Should(Succeed())
	})

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

	It("is not completed again by an update, and its own manifest replaces it", func() {
		d := define(syncUsers)
		Expect(k8s.Create(ctx, manifest("a", "\n  jobName: sync\n  input: {org: acme}"))).To(Succeed())
		redefine(d, `"other"`, "spec", "concurrencyKeyExpression")

		replaceBy := func(spec string) error {
			return retry.RetryOnConflict(retry.DefaultRetry, func() error { // The operator may write the status meanwhile.
				stored, err := get("a")()
				if err != nil {
					return err
				}
				again := manifest("a", spec)
				again.SetResourceVersion(stored.ResourceVersion)
				return k8s.Update(ctx, again)
			})
		}
		before, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		Expect(replaceBy("\n  jobName: sync\n  input: {org: acme}")).To(Succeed())
		after, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Spec).To(Equal(before.Spec))
		Expect(after.Labels).To(Equal(before.Labels))
		Expect(after.Spec.ConcurrencyKey).To(Equal("org_acme"))
		Expect(after.Spec.MaxAttempts).To(BeEquivalentTo(5))
		Expect(after.Spec.Input.Raw).To(MatchJSON(`{"org": "acme", "full": false}`))
		Expect(after.Spec.Admission.Definition.Generation).To(BeEquivalentTo(1))

		for field, spec := range map[string]string{
			"spec.input":          "\n  jobName: sync\n  input: {org: acme, full: true}",
			"spec.concurrencyKey": "\n  jobName: sync\n  input: {org: acme}\n  concurrencyKey: other",
			"spec.maxAttempts":    "\n  jobName: sync\n  input: {org: acme}\n  maxAttempts: 3",
		} {
			err := replaceBy(spec)
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			Expect(fields(refusal(err))).To(ConsistOf(field), "%v", err)
			Expect(err).To(MatchError(ContainSubstring("use a new name or metadata.generateName")))
		}
		Expect(replaceBy("\n  jobName: sync\n  input: {org: acme}\n  cancel: true")).To(Succeed())
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
		redefine(d, "a", "metadata", "labels", "team")
		Eventually(func() bool { // The operator may write the status meanwhile.
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
			Expect(unstructured.SetNestedField(d.Object, "input +", "spec", "concurrencyKeyExpression")).To(Succeed())
			return apierrors.IsInvalid(k8s.Update(ctx, d))
		}).Should(BeTrue())
	})
})
