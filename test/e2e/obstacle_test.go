// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// missing is an image that no node can pull.
const missing = "registry.invalid/app:1"

// within is how soon a run says why it does not get on. The operator waits 3 s itself.
const within = 30 * time.Second

func (m manifest) pod(change func(*corev1.PodSpec)) manifest {
	return m.with(func(r *v1alpha1.JobRun) { change(&r.Spec.Template.Spec.Template.Spec) })
}

// expectError waits for a status.error, which kubectl get shows.
func expectError(name, pattern string) {
	GinkgoHelper()
	Eventually(func() string { return get(name).Status.Error }).WithTimeout(within).Should(MatchRegexp(pattern))
	Expect(kubectl("get", "jobrun", name, "-o", "wide")).To(ContainSubstring(get(name).Status.Error))
}

var _ = Describe("A run that does not get on", func() {
	BeforeEach(useNamespace)

	It("says that its image cannot be pulled", func() {
		apply(run("a", quick).key("acme").pod(func(s *corev1.PodSpec) { s.Containers[0].Image = missing }))
		expectError("a", `^container main of Pod a-1-\w+ waits \(ImagePullBackOff\): .*registry\.invalid/app:1`)
		Eventually(kubectl).WithArguments("events", "--for=jobrun/a").Should(MatchRegexp(`Warning +RunBlocked`))

		By("writing its status once, although the kubelet alternates between two reasons")
		version := get("a").ResourceVersion
		Consistently(func() string { return get("a").ResourceVersion }).WithTimeout(8 * time.Second).Should(Equal(version))

		By("telling the plugin's users, too")
		Expect(plugin("keys")).To(says(codeOK, MatchRegexp(`(?m)^sync +acme +a +1 +starting +- +- +container main of Pod a-1-\w+ waits`), BeEmpty()))
		Expect(plugin("describe", "a")).To(says(codeOK, And(
			MatchRegexp(`(?m)^Does not get on: +container main of Pod a-1-\w+ waits \(ImagePullBackOff\)`),
			MatchRegexp(`(?m)^Key used by: +a starts$`)), BeEmpty()))
		Expect(plugin("logs", "a")).To(says(codeFailed, BeEmpty(), ContainSubstring("ImagePullBackOff")))

		By("ending when it is cancelled")
		kubectl("patch", "jobrun", "a", "--type=merge", "--patch", cancel)
		wait("a", "Cancelled")
		Expect(get("a").Status.Error).To(Equal("cancelled on request"))
		Eventually(takenKeys).Should(BeEmpty())
	})

	It("says that no node fits its Pod", func() {
		apply(run("a", quick).pod(func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4000")}
		}))
		expectError("a", `^Pod a-1-\w+ is not scheduled \(Unschedulable\): .*Insufficient cpu`)
	})

	It("says that a quota refuses its Pods, and goes on when there is room", func() {
		kubectl("create", "quota", "none", "--hard=pods=0")
		Eventually(kubectl).WithArguments("get", "quota", "none", "-o", "jsonpath={.status.hard}").Should(ContainSubstring("pods"))
		apply(run("a", quick).key("acme"))
		expectError("a", `^Job a-1 has no Pods \(FailedCreate\): pods "a-1-.*" is forbidden: exceeded quota: none`)
		kubectl("delete", "quota", "none")
		wait("a", "Complete")
		Expect(get("a").Status.Error).To(BeEmpty())
	})

	It("says that its ServiceAccount does not exist", func() {
		apply(run("a", quick).pod(func(s *corev1.PodSpec) { s.ServiceAccountName = "nobody" }))
		expectError("a", `^Job a-1 has no Pods \(FailedCreate\): .*serviceaccount "nobody" not found`)
		kubectl("create", "serviceaccount", "nobody")
		wait("a", "Complete")
	})

	It("says that its Job is suspended, and goes on when the Job is resumed", func() {
		apply(run("a", quick).with(func(r *v1alpha1.JobRun) { r.Spec.Template.Spec.Suspend = new(true) }))
		expectError("a", `^Job a-1 is suspended$`)
		kubectl("patch", "job", "a-1", "--type=merge", "--patch", `{"spec":{"suspend":false}}`)
		wait("a", "Complete")
		Expect(get("a").Status.Error).To(BeEmpty())
	})

	It("says that no worker asks for its jobName, until one does", func() {
		apply(workerRun("a").of("mispelt"), workerRun("b").of("other"))
		Eventually(func() string { return get("a").Status.Error }).WithTimeout(time.Minute).
			Should(Equal("no worker has claimed this run for 30s; is a worker for jobName mispelt running?"))
		Eventually(kubectl).WithArguments("events", "--for=jobrun/a").Should(MatchRegexp(`Warning +RunUnclaimed`))
		Expect(get("a").Status.Phase).To(Equal(v1alpha1.PhasePending))
		started("worker", "--job=mispelt", "--name=late", "--", "sh", "-c", "echo 1")
		wait("a", "Complete")
		Expect(get("a").Status.Error).To(BeEmpty())
		Expect(strings.Count(kubectl("events", "--for=jobrun/a"), "RunUnclaimed")).To(Equal(1))
	})
})
