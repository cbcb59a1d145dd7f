// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// sentAgain returns a Job as the operator sent it when it created j. A late create looks like that.
func sentAgain(j *batchv1.Job) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: j.Namespace, Name: j.Name, Labels: j.Labels, Annotations: j.Annotations, OwnerReferences: j.OwnerReferences,
		},
		Spec: jobTemplate().Spec,
	}
}

// fenced checks that the fence refuses a Job, and why.
func fenced(j *batchv1.Job, code int, why string) {
	GinkgoHelper()
	status := refusal(k8s.Create(ctx, j))
	Expect(status.Code).To(BeEquivalentTo(code), status.Message)
	Expect(status.Message).To(And(
		ContainSubstring(`admission webhook "fence.batch.jobrun.dev" denied the request`), ContainSubstring(why),
		ContainSubstring("only the operator creates Jobs with the label batch.jobrun.dev/run"),
	))
}

var _ = Describe("The fence", func() {
	for _, key := range []string{"", "k"} {
		described := map[string]string{"": "without a key", "k": "with a key"}[key]

		It("refuses the Job of an ended run that arrives late, also for a later run of that name, "+described, func() {
			risen := counts("jobrun_jobs_fenced_total", "")
			a, j := leased(created(makeRun("a").key(key)))
			completeJob(j)
			a = wait(a, inPhase(v1alpha1.PhaseCompleted))
			Eventually(keys).Should(BeEmpty())
			remove(j)
			fenced(sentAgain(j), http.StatusConflict, map[string]string{"": "JobRun a is Completed", "k": "leases no run"}[key])
			remove(a)
			fenced(sentAgain(j), http.StatusConflict, map[string]string{"": "JobRun a does not exist", "k": "leases no run"}[key])

			_, later := leased(created(makeRun("a").key(key)))
			remove(later) // Its name is free now.
			fenced(sentAgain(j), http.StatusConflict, "")
			Expect(risen()).To(Equal(3))
		})
	}

	It("refuses a Job for a generation that no lease has", func() {
		_, j := leased(created(makeRun("a").key("k")))
		next := sentAgain(j)
		next.Name, next.Annotations[v1alpha1.AnnotationGeneration] = "a-2", "2"
		fenced(next, http.StatusConflict, "leases generation 1 of run a")
	})

	It("refuses a user's copy, unless the user takes the label away", func() {
		_, j := leased(created(makeRun("a")))
		mine := sentAgain(j)
		mine.Name = "mine"
		fenced(mine, http.StatusUnprocessableEntity, "metadata.name")
		mine.OwnerReferences = nil
		delete(mine.Labels, v1alpha1.LabelRun)
		Expect(k8s.Create(ctx, mine)).To(Succeed())
	})
})
