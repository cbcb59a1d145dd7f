// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("An update of a JobRun", func() {
	// stored creates a JobRun from a manifest as a person writes it, and reads it with a typed client.
	stored := func() *v1alpha1.JobRun {
		GinkgoHelper()
		Expect(k8s.Create(ctx, manifest("a", `
  jobName: sync
  concurrencyKey: k
  input: {b: 1.0, a: [1, 2]}
  template:
    spec:
      suspend: true
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, image: busybox, resources: {requests: {cpu: 1000m, memory: 1024Mi}}}`))).To(Succeed())
		a, err := get("a")()
		Expect(err).NotTo(HaveOccurred())
		a, _ = leased(a)
		return a
	}

	It("by a typed client that changes a label is stored", func() {
		a := stored()
		a.Labels["mine"] = "yes"
		Expect(k8s.Update(ctx, a)).To(Succeed())
		Expect(a.Labels).To(HaveKeyWithValue("mine", "yes"))
		cpu := a.Spec.Template.Spec.Template.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU]
		Expect(cpu.Equal(resource.MustParse("1"))).To(BeTrue())
	})

	DescribeTable("that changes an immutable field is refused",
		func(field string, change func(*v1alpha1.JobRun)) {
			a := stored()
			change(a)
			err := k8s.Update(ctx, a)
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			Expect(fields(refusal(err))).To(ContainElement(field), "%v", err)
		},
		Entry("the image", "spec.template", func(r *v1alpha1.JobRun) { r.Spec.Template.Spec.Template.Spec.Containers[0].Image = "other" }),
		Entry("the whole template", "spec.template", func(r *v1alpha1.JobRun) { r.Spec.Template = nil }),
		Entry("the input", "spec.input", func(r *v1alpha1.JobRun) { r.Spec.Input.Raw = []byte(`{"a":[2,1],"b":1.0}`) }),
		Entry("whether there is an input", "spec.input", func(r *v1alpha1.JobRun) { r.Spec.Input = nil }),
		Entry("the key", "spec.concurrencyKey", func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = "other" }),
	)

	It("keeps the operator's labels", func() {
		a := stored()
		want := a.DeepCopy().Labels
		Expect(k8s.Patch(ctx, a, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`)))).To(Succeed())
		Expect(a.Labels).To(Equal(want))
		Expect(k8s.Patch(ctx, a, client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"batch.jobrun.dev/key":"forged","batch.jobrun.dev/disposition":null}}}`)))).To(Succeed())
		Expect(a.Labels).To(Equal(want))
	})

	It("keeps spec.admission, whether a replaced manifest lacks or forges it", func() {
		a := stored()
		want, labels := a.Spec.Admission.DeepCopy(), a.Labels
		a.Spec.Admission, a.Labels = nil, nil
		Expect(k8s.Update(ctx, a)).To(Succeed())
		Expect(a.Spec.Admission).To(Equal(want))
		Expect(a.Labels).To(Equal(labels))

		a.Spec.Admission.Token, a.Spec.Admission.RunName = "forged", "other"
		Expect(k8s.Update(ctx, a)).To(Succeed())
		Expect(a.Spec.Admission).To(Equal(want))
	})
})
