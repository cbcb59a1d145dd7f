// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func foreignJob(name string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: jobTemplate().Spec}
}

// forbidJobs creates a quota that refuses all Jobs of the namespace, and returns it.
func forbidJobs() *corev1.ResourceQuota {
	GinkgoHelper()
	none := corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "no-jobs", Namespace: ns},
		Spec:       corev1.ResourceQuotaSpec{Hard: none},
	}
	Expect(k8s.Create(ctx, quota)).To(Succeed())
	quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
	Eventually(func() error { return k8s.Create(ctx, foreignJob("probe"), client.DryRunAll) }).
		Should(MatchError(ContainSubstring("exceeded quota")))
	return quota
}

var _ = Describe("A run whose Job is refused", func() {
	for _, key := range []string{"", "k"} {
		described := map[string]string{"": "without a key", "k": "with a key"}[key]

		It("for now has the refusal in status.error, and goes on when the Job is accepted, "+described, func() {
			quota := forbidJobs()
			a := wait(created(makeRun("a").key(key)), HaveField("Status.Error", ContainSubstring("exceeded quota")))
			Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseLeased))
			Expect(a.Status.JobRef).To(BeNil())
			Consistently(get("a")).Should(HaveField("Status.Attempts", BeZero()))

			Expect(k8s.Delete(ctx, quota)).To(Succeed())
			a, j := leased(a)
			Expect(a.Status.Error).To(BeEmpty())
			Expect(j.Name).To(Equal("a-1"))
			completeJob(j)
			wait(a, inPhase(v1alpha1.PhaseCompleted))
			Eventually(keys).Should(BeEmpty())
		})

		It("for now can be cancelled, "+described, func() {
			forbidJobs()
			a := wait(created(makeRun("a").key(key)), HaveField("Status.Error", Not(BeEmpty())))
			cancel(a)
			wait(a, haveCondition(v1alpha1.ConditionCancelled))
			Eventually(keys).Should(BeEmpty())
		})

		It("for good fails with that message, "+described, func() {
			a := created(makeRun("a").key(key).with(func(r *v1alpha1.JobRun) {
				r.Spec.Template.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "missing", MountPath: "/m"}}
			}))
			a = wait(a, haveCondition(v1alpha1.ConditionFailed))
			Expect(a.Status.Error).To(And(ContainSubstring("volumeMounts"), ContainSubstring("missing")))
			Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseFailed))
			Eventually(keys).Should(BeEmpty())
		})

		It("because a foreign Job has its name fails, and does not touch that Job, "+described, func() {
			foreign := foreignJob("a-1")
			Expect(k8s.Create(ctx, foreign)).To(Succeed())
			a := wait(created(makeRun("a").key(key)), haveCondition(v1alpha1.ConditionFailed))
			Expect(a.Status.Error).To(ContainSubstring("Job a-1 exists and does not belong to this run"))
			Eventually(keys).Should(BeEmpty())
			Expect(gone(foreign)()).To(BeFalse())
			Expect(foreign.DeletionTimestamp).To(BeNil())
		})
	}

	It("keeps its place, so that others wait behind it", func() {
		forbidJobs()
		a := wait(created(makeRun("a").key("k")), HaveField("Status.Error", Not(BeEmpty())))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		_, _, err := trigger(makeRun("c").key("k"))
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		Expect(keyOf("k")).To(HaveValue(And(
			HaveField("Leased.Token", a.Spec.Admission.Token), HaveField("Pending.Token", b.Spec.Admission.Token))))
	})
})
