// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// limitJobs creates a quota of Jobs, and returns it. The API server counts the Jobs that are created. No controller counts
// those that go.
func limitJobs(limit int64) *corev1.ResourceQuota {
	GinkgoHelper()
	list := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{"count/jobs.batch": *resource.NewQuantity(n, resource.DecimalSI)}
	}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "jobs", Namespace: ns},
		Spec:       corev1.ResourceQuotaSpec{Hard: list(limit)},
	}
	Expect(k8s.Create(ctx, quota)).To(Succeed())
	quota.Status = corev1.ResourceQuotaStatus{Hard: list(limit), Used: list(0)}
	Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
	Eventually(func() error { return k8s.Create(ctx, foreignJob("probe"), client.DryRunAll) }).Should(Succeed())
	return quota
}

var refusedCreate = regexp.MustCompile(`(?m)^apiserver_request_total\{code="403",.*resource="jobs",.*verb="POST",?.*\} (\d+)$`)

// refusedJobs returns how many creates of Jobs the API server has answered with 403.
func refusedJobs() (int, error) {
	clients, err := kubernetes.NewForConfig(server.config)
	if err != nil {
		return 0, err
	}
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	sum := 0
	for _, match := range refusedCreate.FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(match[1]))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

var _ = Describe("A ResourceQuota of Jobs", func() {
	It("that is full of finished Jobs blocks a run until one of them goes", func() {
		quota := limitJobs(5)
		var finished []*batchv1.Job
		for n := range 5 {
			a, j := leased(created(makeRun(fmt.Sprintf("run-%d", n+1)).key(fmt.Sprintf("k%d", n))))
			completeJob(j)
			wait(a, haveCondition(v1alpha1.ConditionComplete))
			finished = append(finished, j)
		}
		before, err := refusedJobs()
		Expect(err).NotTo(HaveOccurred())
		sixth := wait(created(makeRun("run-6").key("k")), HaveField("Status.Error", ContainSubstring("exceeded quota")))

		By("waiting until its backoff is 16 s")
		Eventually(refusedJobs).Should(BeNumerically(">=", before+5))

		remove(finished[0])
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
		quota.Status.Used["count/jobs.batch"] = resource.MustParse("4")
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
		Eventually(get("run-6")).WithTimeout(5 * time.Second).Should(HaveField("Status.JobRef", Not(BeNil())))
		sixth, j := leased(sixth)
		completeJob(j)
		wait(sixth, haveCondition(v1alpha1.ConditionComplete))

		By("keeping the outcome of the run whose Job went")
		Consistently(get("run-1")).Should(And(inPhase(v1alpha1.PhaseCompleted), HaveField("Status.Attempts", BeZero())))
		Expect(j.Name).To(Equal("run-6-1"))
	})
})
