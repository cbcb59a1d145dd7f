// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// saying matches a run whose status.error contains a text.
func saying(text string) gomegatypes.GomegaMatcher {
	return HaveField("Status.Error", ContainSubstring(text))
}

// notesOf returns the notes of the Events of a reason about a run.
func notesOf(run *v1alpha1.JobRun, reason string) func() ([]string, error) {
	return func() ([]string, error) {
		var list eventsv1.EventList
		err := k8s.List(ctx, &list, client.InNamespace(ns))
		var notes []string
		for i := range list.Items {
			if e := &list.Items[i]; e.Regarding.UID == run.UID && e.Reason == reason {
				notes = append(notes, e.Note)
			}
		}
		return notes, err
	}
}

// refusePods tells of a Job what the Job controller tells if it cannot create a Pod.
func refusePods(j *batchv1.Job, message string) {
	GinkgoHelper()
	at := metav1.Now()
	Expect(k8s.Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: ns, GenerateName: "event-"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: ns, Name: j.Name, UID: j.UID},
		Reason:         "FailedCreate", Message: "Error creating: " + message, Type: corev1.EventTypeWarning,
		FirstTimestamp: at, LastTimestamp: at, Count: 1, Source: corev1.EventSource{Component: "job-controller"},
	})).To(Succeed())
}

// change changes the status of a Pod.
func change(pod *corev1.Pod, to func(*corev1.PodStatus)) {
	GinkgoHelper()
	to(&pod.Status)
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
}

func waitingFor(reason, message string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodPending
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	}
}

func startsRunning(s *corev1.PodStatus) {
	s.Phase, s.Conditions = corev1.PodRunning, nil
	s.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
}

var _ = Describe("A run that does not get on", func() {
	for _, key := range []string{"", "k"} {
		described := map[string]string{"": "without a key", "k": "with a key"}[key]

		It("says why its container does not start, until it does, "+described, func() {
			a, j := leased(created(makeRun("a").key(key)))
			pod := startPod(j)
			change(pod, waitingFor("ErrImagePull", "no such image"))
			a = wait(a, saying("container main of Pod "+pod.Name+" waits (ImagePullBackOff): no such image"))
			Eventually(notesOf(a, "RunBlocked")).Should(HaveExactElements(a.Status.Error))
			version := a.ResourceVersion
			change(pod, waitingFor("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: no such image`))
			change(pod, waitingFor("ErrImagePull", "no such image"))
			Consistently(get("a")).Should(HaveField("ResourceVersion", version))
			Expect(notesOf(a, "RunBlocked")()).To(HaveLen(1))

			change(pod, startsRunning)
			a = wait(a, HaveField("Status.Error", BeEmpty()))
			Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseLeased))
			endPod(pod, `{"n":1}`)
			completeJob(j)
			a = wait(a, haveCondition(v1alpha1.ConditionComplete))
			Expect(a.Status.Output.Raw).To(MatchJSON(`{"n":1}`))
			Eventually(keys).Should(BeEmpty())
		})
	}

	It("says that its Pod is not scheduled", func() {
		a, j := leased(created(makeRun("a").key("k")))
		change(startPod(j), func(s *corev1.PodStatus) {
			s.Phase = corev1.PodPending
			s.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available",
			}}
		})
		wait(a, saying("is not scheduled (Unschedulable): 0/1 nodes are available"))
	})

	It("says that its Job is suspended, and then why the Job has no Pods", func() {
		a, j := leased(created(makeRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.Template.Spec.Suspend = ptr.To(true) })))
		a = wait(a, saying("Job a-1 is suspended"))
		j.Spec.Suspend = ptr.To(false)
		Expect(k8s.Update(ctx, j)).To(Succeed())
		refusePods(j, `pods "a-1-" is forbidden: exceeded quota: q`)
		a = wait(a, saying(`Job a-1 has no Pods (FailedCreate): pods "a-1-" is forbidden: exceeded quota: q`))
		startPod(j)
		a = wait(a, HaveField("Status.Error", BeEmpty()))
		Expect(a.Status.Attempts).To(BeZero())
	})

	It("says it at its deadline, too", func() {
		a, j := leased(created(makeRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.ActiveDeadlineSeconds = 6 })))
		change(startPod(j), waitingFor("InvalidImageName", "couldn't parse image name"))
		a = wait(a, saying("InvalidImageName"))
		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a).To(saying("activeDeadlineSeconds, 6 seconds; it did not get on: container main of Pod"))
	})

	It("can be cancelled, and fails like any other", func() {
		a, j := leased(created(makeRun("a").key("k")))
		pod := startPod(j)
		change(pod, waitingFor("ErrImagePull", "no such image"))
		a = wait(a, saying("no such image"))
		cancel(a)
		Expect(k8s.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		collect(j)
		a = wait(a, haveCondition(v1alpha1.ConditionCancelled))
		Expect(a.Status.Error).To(Equal("cancelled on request"))
	})

	It("says that no worker has claimed it, once, until one does", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		Consistently(get("a")).WithTimeout(5 * time.Second).Should(HaveField("Status.Error", BeEmpty()))
		Eventually(get("a")).WithTimeout(time.Minute).Should(saying("no worker has claimed this run for 30s"))
		a = wait(a, inPhase(v1alpha1.PhasePending))
		Eventually(notesOf(a, "RunUnclaimed")).Should(HaveExactElements(a.Status.Error))
		a = claim(a, "worker", 30)
		a = wait(a, HaveField("Status.Error", BeEmpty()))
		Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseLeased))
		Expect(a.Status.Lease.HolderIdentity).To(Equal("worker"))
	})
})

var _ = Describe("The output of a run whose Pod is deleted before its Job completes", func() {
	It("is what the Pod said", func() {
		a, j := leased(created(makeRun("a").key("k")))
		pod := startPod(j)
		endPod(pod, `"said"`)
		Expect(k8s.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		Eventually(gone(pod)).Should(BeTrue())
		completeJob(j)
		a = wait(a, haveCondition(v1alpha1.ConditionComplete))
		Expect(a.Status.Output.Raw).To(MatchJSON(`"said"`))
	})
})
