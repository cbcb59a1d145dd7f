// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The functions of this file play the Job controller, the kubelet and the garbage collector.

// leased waits for the run's Job, and returns both.
func leased(run *v1alpha1.JobRun) (*v1alpha1.JobRun, *batchv1.Job) {
	GinkgoHelper()
	current := wait(run, And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.JobRef", Not(BeNil()))))
	return current, jobOf(current)
}

func jobOf(run *v1alpha1.JobRun) *batchv1.Job {
	GinkgoHelper()
	found := &batchv1.Job{}
	Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: run.Status.JobRef.Name}, found)).To(Succeed())
	Expect(found.UID).To(Equal(run.Status.JobRef.UID))
	return found
}

// startPod creates the Job's Pod, which then runs.
func startPod(j *batchv1.Job) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: *j.Spec.Template.ObjectMeta.DeepCopy(),
		Spec:       *j.Spec.Template.Spec.DeepCopy(),
	}
	pod.Namespace, pod.GenerateName = j.Namespace, j.Name+"-"
	Expect(k8s.Create(ctx, pod)).To(Succeed())
	pod.Status.Phase = corev1.PodRunning
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
	return pod
}

// endPod lets a Pod succeed with a termination message.
func endPod(pod *corev1.Pod, message string) {
	GinkgoHelper()
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Message: message, FinishedAt: metav1.Now(),
		}},
	}}
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
}

// completeJob completes a Job.
func completeJob(j *batchv1.Job) {
	GinkgoHelper()
	endJob(j, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete, "CompletionsReached", "Reached expected number of succeeded pods")
}

// failJob fails a Job.
func failJob(j *batchv1.Job, reason, message string) {
	GinkgoHelper()
	endJob(j, batchv1.JobFailureTarget, batchv1.JobFailed, reason, message)
}

func endJob(j *batchv1.Job, before, end batchv1.JobConditionType, reason, message string) {
	GinkgoHelper()
	setEnd(j, before, end, reason, message)
	Expect(k8s.Status().Update(ctx, j)).To(Succeed())
}

// setEnd sets the status of a finished Job, as the API server requires it.
func setEnd(j *batchv1.Job, before, end batchv1.JobConditionType, reason, message string) {
	now := metav1.Now()
	j.Status.StartTime = &now
	if end == batchv1.JobComplete {
		j.Status.CompletionTime = &now
		j.Status.Succeeded = 1
	} else {
		j.Status.Failed = 1
	}
	j.Status.Terminating, j.Status.Ready = ptr.To[int32](0), ptr.To[int32](0)
	for _, kind := range []batchv1.JobConditionType{before, end} {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message,
			LastProbeTime: now, LastTransitionTime: now,
		})
	}
}

// collect waits until the Job is being deleted in the foreground, and removes it.
func collect(j *batchv1.Job) {
	GinkgoHelper()
	current := &batchv1.Job{}
	Eventually(func() (*batchv1.Job, error) {
		return current, k8s.Get(ctx, client.ObjectKeyFromObject(j), current)
	}).Should(HaveField("Finalizers", ContainElement(metav1.FinalizerDeleteDependents)))
	Expect(current.UID).To(Equal(j.UID))
	current.Finalizers = nil
	Expect(k8s.Update(ctx, current)).To(Succeed())
}

// jobs returns the Jobs of the namespace.
func jobs() []batchv1.Job {
	GinkgoHelper()
	var found batchv1.JobList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return found.Items
}

// gone returns a function that reports whether an object is gone.
func gone(object client.Object) func() (bool, error) {
	return func() (bool, error) {
		current := object.DeepCopyObject().(client.Object)
		err := k8s.Get(ctx, client.ObjectKeyFromObject(object), current)
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return err == nil && current.GetUID() != object.GetUID(), err
	}
}
