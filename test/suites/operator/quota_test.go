// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const countOfJobRuns = "count/jobruns.batch.jobrun.dev"

// fillQuota creates a quota of one JobRun that is used up, and returns it. It waits until the API server and all replicas
// see it. No controller counts the JobRuns here.
func fillQuota() *corev1.ResourceQuota {
	GinkgoHelper()
	one := corev1.ResourceList{countOfJobRuns: resource.MustParse("1")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "runs", Namespace: ns},
		Spec:       corev1.ResourceQuotaSpec{Hard: one},
	}
	Expect(k8s.Create(ctx, quota)).To(Succeed())
	quota.Status = corev1.ResourceQuotaStatus{Hard: one, Used: one}
	Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
	for _, r := range replicas {
		Eventually(func() (*corev1.ResourceQuota, error) {
			seen := &corev1.ResourceQuota{}
			return seen, r.cached.Get(ctx, client.ObjectKeyFromObject(quota), seen)
		}).Should(HaveField("Status.Hard", HaveKey(corev1.ResourceName(countOfJobRuns))))
	}
	Eventually(func() error {
		_, _, err := trigger(makeWorkerRun("probe"), client.DryRunAll)
		return err
	}).Should(WithTransform(apierrors.IsForbidden, BeTrue()))
	return quota
}

var _ = Describe("A ResourceQuota of JobRuns", func() {
	It("that is full refuses a trigger before the webhook reserves its key", func() {
		created(makeWorkerRun("a").key("k"))
		fillQuota()

		const exceeded = "exceeded quota: runs, requested: " + countOfJobRuns + "=1, used: " + countOfJobRuns + "=1, limited: " + countOfJobRuns + "=1"
		for _, b := range []builder{makeWorkerRun("b").key("other"), makeWorkerRun("b").delivery("i"), makeWorkerRun("b")} {
			for _, options := range [][]client.CreateOption{nil, {client.DryRunAll}} {
				_, _, err := trigger(builder{b.obj.DeepCopy()}, options...)
				Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
				Expect(err).To(MatchError(ContainSubstring(exceeded)))
			}
		}
		Expect(keys()).To(HaveLen(1))

		By("answering a trigger that needs no key of its own as before")
		_, _, err := trigger(makeWorkerRun("c").key("k"))
		Expect(causesOf(err)).To(HaveKeyWithValue(v1alpha1.CausePendingRun, "a"))
	})

	It("that has room again admits triggers", func() {
		quota := fillQuota()
		quota.Status.Used[countOfJobRuns] = resource.MustParse("0")
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
		Eventually(func() error {
			_, _, err := trigger(makeWorkerRun("b").key("k"))
			return err
		}).Should(Succeed())
	})
})
