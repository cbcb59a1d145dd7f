// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// manifest returns a JobRun with a spec in YAML, which may be invalid.
func manifest(name, spec string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal([]byte("spec: "+spec), &object.Object)).To(Succeed())
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
	object.SetNamespace(ns)
	object.SetName(name)
	return object
}

func templateOf(containers string) string {
	return "{jobName: sync, concurrencyKey: k, idempotencyKey: d, template: {spec: {template: {spec: {restartPolicy: Never, containers: " +
		containers + "}}}}}"
}

var _ = Describe("Bad input", func() {
	const (
		pod  = "spec.template.spec.template.spec"
		good = "[{name: main, image: busybox}]"
	)
	DescribeTable("gets a 422 that names the field, and takes no key",
		func(name, spec, field string) {
			for _, opts := range [][]client.CreateOption{{client.DryRunAll}, nil} {
				err := k8s.Create(ctx, manifest(name, spec), opts...)
				Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
				Expect(fields(refusal(err))).To(ContainElement(field), "%v", err)
				Expect(keys()).To(BeEmpty())
			}
		},
		Entry("no jobName", "a", `{concurrencyKey: k}`, "spec.jobName"),
		Entry("an empty jobName", "a", `{jobName: "", concurrencyKey: k}`, "spec.jobName"),
		Entry("a jobName that is not a DNS label", "a", `{jobName: Sync_Users, concurrencyKey: k}`, "spec.jobName"),
		Entry("a jobName of another type", "a", `{jobName: 1, concurrencyKey: k}`, "spec.jobName"),
		Entry("coalesce without concurrencyKey", "a", `{jobName: sync, coalesce: Skip, idempotencyKey: d}`, "spec.coalesce"),
		Entry("an unknown coalesce", "a", `{jobName: sync, concurrencyKey: k, coalesce: Replace}`, "spec.coalesce"),
		Entry("an empty concurrencyKey", "a", `{jobName: sync, concurrencyKey: ""}`, "spec.concurrencyKey"),
		Entry("an empty idempotencyKey", "a", `{jobName: sync, concurrencyKey: k, idempotencyKey: ""}`, "spec.idempotencyKey"),
		Entry("a concurrencyKey of 5,000 characters", "a",
			`{jobName: sync, concurrencyKey: `+strings.Repeat("k", 5000)+`}`, "spec.concurrencyKey"),
		Entry("an idempotencyKey of 5,000 characters", "a",
			`{jobName: sync, concurrencyKey: k, idempotencyKey: `+strings.Repeat("d", 5000)+`}`, "spec.idempotencyKey"),
		Entry("an input of 1 MiB", "a",
			`{jobName: sync, concurrencyKey: k, input: `+strings.Repeat("x", 1<<20)+`}`, "spec.input"),
		Entry("an input of 65 levels", "a", `{jobName: sync, concurrencyKey: k, input: `+nested(65)+`}`, "spec.input"),
		Entry("an input of 65 levels, without a key", "a", `{jobName: sync, input: `+nested(65)+`}`, "spec.input"),
		Entry("a concurrencyKey with U+0000", "a", `{jobName: sync, concurrencyKey: "a\0b"}`, "spec.concurrencyKey"),
		Entry("an idempotencyKey with a newline", "a", `{jobName: sync, concurrencyKey: k, idempotencyKey: "a\n"}`, "spec.idempotencyKey"),
		Entry("a lease of 0 seconds", "a", `{jobName: sync, concurrencyKey: k, leaseDurationSeconds: 0}`, "spec.leaseDurationSeconds"),
		Entry("no attempts", "a", `{jobName: sync, concurrencyKey: k, maxAttempts: 0}`, "spec.maxAttempts"),
		Entry("a negative time to live", "a", `{jobName: sync, concurrencyKey: k, ttlSecondsAfterFinished: -1}`, "spec.ttlSecondsAfterFinished"),
		Entry("a template without containers", "a", templateOf("[]"), pod+".containers"),
		Entry("a bad container name", "a", templateOf("[{name: Main_1, image: busybox}]"), pod+".containers[0].name"),
		Entry("a container without image", "a", templateOf("[{name: main}]"), pod+".containers[0].image"),
		Entry("a template without restartPolicy", "a",
			`{jobName: sync, concurrencyKey: k, template: {spec: {template: {spec: {containers: `+good+`}}}}}`, pod+".restartPolicy"),
		Entry("a name of 60 characters with a template", strings.Repeat("n", 60), templateOf(good), "metadata.name"),
		Entry("a name that is not a DNS name", "Not_A_Name", templateOf(good), "metadata.name"),
	)

	It("is not an input that is a bare string", func() {
		Expect(k8s.Create(ctx, manifest("a", `{jobName: sync, input: acme}`))).To(Succeed())
		a, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		Expect(a.Spec.Input.Raw).To(MatchJSON(`"acme"`))
	})

	It("is not a name of 60 characters without a template", func() {
		created(makeWorkerRun(strings.Repeat("n", 60)))
	})

	It("with the name of an existing run gets a 409, and takes no key", func() {
		a := created(makeWorkerRun("a"))
		everyReplicaHas(a)
		_, _, err := trigger(makeWorkerRun("a").key("k").delivery("d"))
		Expect(apierrors.IsAlreadyExists(err)).To(BeTrue(), "%v", err)
		Expect(keys()).To(BeEmpty())
		Expect(get("a")()).To(HaveField("UID", a.UID))
	})

	It("in a terminating namespace gets a 403, and takes no key", func() {
		Expect(k8s.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})).To(Succeed())
		Eventually(func() error {
			_, _, err := trigger(makeWorkerRun("").key("k").with(func(r *v1alpha1.JobRun) { r.GenerateName = "late-" }), client.DryRunAll)
			return err
		}).Should(HaveOccurred())
		_, _, err := trigger(makeWorkerRun("a").key("k").delivery("d"))
		Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
		Expect(apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)).To(BeTrue(), "%v", err)
		Expect(keys()).To(BeEmpty())
	})
})
