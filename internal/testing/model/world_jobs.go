// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/jobrun-dev/jobrun/internal/executor"
)

// The actors of the World besides people.
const (
	jobController    = "job-controller"
	kubelet          = "kubelet"
	garbageCollector = "garbage-collector"
	cleaner          = "cleaner"
)

// nodeName is the node of all Pods. There is no kube-scheduler to choose one.
const nodeName = "node"

// Output is the termination message of each Pod that succeeds.
const Output = `{"done":true}`

// runJob returns the next writes of the Job controller for a Job with one Pod at a time. The Job starts,
// its Pods are created and counted, its criteria for success or failure are met, and it ends once no Pod
// is left running. A Job that is being deleted gets no new Pods, but it ends like any other.
func (w *World) runJob(job *batchv1.Job, c *cluster) []action {
	pods := c.podsOf(job)
	for _, pod := range pods {
		if ended(pod) && controllerutil.ContainsFinalizer(pod, batchv1.JobTrackingFinalizer) {
			return []action{w.untrack("counts Pod", pod)}
		}
	}
	if executor.IsFinished(job) {
		return w.clean(job)
	}
	deleting := job.DeletionTimestamp != nil
	active, succeeded, failed := census(pods)
	suspended := ptr.Deref(job.Spec.Suspend, false)
	switch {
	case deleting && job.Status.StartTime == nil:
		return nil
	case suspended && len(active) > 0:
		return w.stop(jobController, active)
	case suspended:
		return []action{w.suspend(job, false)}
	case job.Status.StartTime == nil:
		return []action{updateStatus(w, jobController, "starts Job", job, func(job *batchv1.Job) { job.Status.StartTime = w.now() })}
	case has(job, batchv1.JobFailureTarget) && len(active) > 0:
		return w.stop(jobController, active)
	case has(job, batchv1.JobFailureTarget):
		return []action{w.endJob(job, batchv1.JobFailed)}
	case has(job, batchv1.JobSuccessCriteriaMet):
		return []action{w.endJob(job, batchv1.JobComplete)}
	case succeeded > 0:
		return []action{w.condition(job, batchv1.JobSuccessCriteriaMet, "CompletionsReached")}
	case failed > int(ptr.Deref(job.Spec.BackoffLimit, 6)):
		return []action{w.condition(job, batchv1.JobFailureTarget, "BackoffLimitExceeded")}
	case deleting:
		return nil // The garbage collector deletes the Pods.
	case len(active) == 0:
		return []action{w.createPod(job, c.podName(job)), w.suspend(job, true)}
	default:
		return []action{w.condition(job, batchv1.JobFailureTarget, "DeadlineExceeded").asMishap(), w.suspend(job, true)}
	}
}

// clean returns the write of a cleaner of finished Jobs, such as the controller of ttlSecondsAfterFinished.
func (w *World) clean(job *batchv1.Job) []action {
	if !w.Cleans || job.DeletionTimestamp != nil {
		return nil
	}
	return []action{
		w.delete(cleaner, "deletes Job in the foreground", job, client.PropagationPolicy(metav1.DeletePropagationForeground)),
		w.delete(cleaner, "deletes Job in the background", job, client.PropagationPolicy(metav1.DeletePropagationBackground)),
	}
}

// untrack removes the finalizer by which the Job controller keeps a Pod until it has counted that Pod.
func (w *World) untrack(what string, pod *corev1.Pod) action {
	return update(w, jobController, what, pod, func(pod *corev1.Pod) {
		controllerutil.RemoveFinalizer(pod, batchv1.JobTrackingFinalizer)
	})
}

// releasePod returns the write of the Job controller for a Pod whose Job is gone: it stops tracking the Pod.
func (w *World) releasePod(pod *corev1.Pod, c *cluster) []action {
	owner := metav1.GetControllerOf(pod)
	if owner != nil && c.exists(owner.UID) || !controllerutil.ContainsFinalizer(pod, batchv1.JobTrackingFinalizer) {
		return nil
	}
	return []action{w.untrack("lets go of Pod", pod)}
}

func census(pods []*corev1.Pod) (active []*corev1.Pod, succeeded, failed int) {
	for _, pod := range pods {
		switch {
		case pod.Status.Phase == corev1.PodSucceeded:
			succeeded++
		case pod.Status.Phase == corev1.PodFailed:
			failed++
		default:
			active = append(active, pod)
		}
	}
	return active, succeeded, failed
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func has(job *batchv1.Job, condition batchv1.JobConditionType) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == condition && c.Status == corev1.ConditionTrue
	})
}

func (w *World) now() *metav1.Time { return ptr.To(metav1.NewTime(w.clock.Now())) }

func (w *World) condition(job *batchv1.Job, condition batchv1.JobConditionType, reason string) action {
	return updateStatus(w, jobController, "says "+string(condition)+" of Job", job, func(job *batchv1.Job) {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: condition, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: *w.now(),
		})
		if condition == batchv1.JobComplete {
			job.Status.CompletionTime = w.now()
		}
	})
}

// endJob adds the final condition, with the reason of the latest condition.
func (w *World) endJob(job *batchv1.Job, condition batchv1.JobConditionType) action {
	return w.condition(job, condition, job.Status.Conditions[len(job.Status.Conditions)-1].Reason)
}

// stop deletes the first of the Pods that is not being deleted yet.
func (w *World) stop(who string, pods []*corev1.Pod) []action {
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil {
			return []action{w.delete(who, "deletes Pod", pod)}
		}
	}
	return nil
}

// suspend suspends a Job, as a mishap, or resumes it, as a queueing system does.
func (w *World) suspend(job *batchv1.Job, suspend bool) action {
	set := func(job *batchv1.Job) { job.Spec.Suspend = &suspend }
	if suspend {
		return update(w, "kueue", "suspends Job", job, set).asMishap()
	}
	return update(w, "kueue", "lets start Job", job, set)
}

func (w *World) createPod(job *batchv1.Job, name string) action {
	return action{who: jobController, what: "creates Pod", subject: name, do: func(ctx context.Context) error {
		template := job.Spec.Template.DeepCopy()
		template.Spec.NodeName = nodeName
		owner := metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))
		return w.client.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name:            name,
			Namespace:       job.Namespace,
			Labels:          template.Labels,
			Annotations:     template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*owner},
			Finalizers:      []string{batchv1.JobTrackingFinalizer},
		}, Spec: template.Spec})
	}}
}

// runPod returns the next writes of the kubelet for a Pod.
func (w *World) runPod(pod *corev1.Pod) []action {
	deleting := pod.DeletionTimestamp != nil
	switch {
	case ended(pod) && deleting && len(pod.Finalizers) == 0:
		return []action{w.delete(kubelet, "removes Pod", pod, client.GracePeriodSeconds(0))}
	case ended(pod):
		return nil
	case deleting:
		return []action{
			w.endPod(pod, corev1.PodFailed, 137, ""),
			w.endPod(pod, corev1.PodSucceeded, 0, ""), // It handles TERM, after half of its work.
		}
	case len(pod.OwnerReferences) == 0 && w.neverEnds(pod):
		return []action{w.delete("people", "deletes orphaned Pod", pod)} // Nothing else ever ends it.
	case pod.Status.Phase == corev1.PodPending && w.Sticks != nil && w.Sticks(pod):
		return w.failToPull(pod)
	case pod.Status.Phase == corev1.PodPending:
		return []action{updateStatus(w, kubelet, "starts Pod", pod, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodRunning })}
	case w.Hangs != nil && w.Hangs(pod):
		return nil
	default:
		return []action{
			w.endPod(pod, corev1.PodSucceeded, 0, Output),
			w.endPod(pod, corev1.PodFailed, 1, "no luck").asMishap(),
		}
	}
}

// neverEnds reports whether a Pod never ends by itself.
func (w *World) neverEnds(pod *corev1.Pod) bool {
	return (w.Hangs != nil && w.Hangs(pod)) || (w.Sticks != nil && w.Sticks(pod))
}

// failToPull returns the write of the kubelet for a Pod whose image cannot be pulled, unless the Pod says so already.
func (w *World) failToPull(pod *corev1.Pod) []action {
	if len(pod.Status.ContainerStatuses) > 0 {
		return nil
	}
	waiting := &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}
	return []action{updateStatus(w, kubelet, "cannot start Pod", pod, func(pod *corev1.Pod) {
		for _, container := range pod.Spec.Containers {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image, State: corev1.ContainerState{Waiting: waiting},
			})
		}
	})}
}

func (w *World) endPod(pod *corev1.Pod, phase corev1.PodPhase, code int32, message string) action {
	return updateStatus(w, kubelet, "ends as "+string(phase)+" Pod", pod, func(pod *corev1.Pod) {
		pod.Status.Phase = phase
		pod.Status.ContainerStatuses = nil
		for _, container := range pod.Spec.Containers {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image,
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message, FinishedAt: *w.now()}},
			})
		}
	})
}

// collectGarbage returns the next write of the garbage collector for an object. The garbage collector
// deletes a dependent whose owners are gone. For a Job that is being deleted, it first deletes or orphans
// the Pods, as the Job's finalizer demands, and then removes the finalizer.
func (w *World) collectGarbage(obj client.Object, c *cluster) []action {
	owners := obj.GetOwnerReferences()
	orphaned := len(owners) > 0 && !slices.ContainsFunc(owners, func(o metav1.OwnerReference) bool { return c.exists(o.UID) })
	job, isJob := obj.(*batchv1.Job)
	switch {
	case orphaned && obj.GetDeletionTimestamp() == nil:
		return []action{w.delete(garbageCollector, "deletes dependent", obj, client.PropagationPolicy(metav1.DeletePropagationBackground))}
	case !isJob || job.DeletionTimestamp == nil:
		return nil
	}
	pods := c.podsOf(job)
	switch {
	case controllerutil.ContainsFinalizer(job, metav1.FinalizerOrphanDependents) && len(pods) > 0:
		return []action{update(w, garbageCollector, "orphans Pod", pods[0], func(pod *corev1.Pod) { pod.OwnerReferences = nil })}
	case controllerutil.ContainsFinalizer(job, metav1.FinalizerDeleteDependents) && len(pods) > 0:
		return w.stop(garbageCollector, pods)
	case controllerutil.ContainsFinalizer(job, metav1.FinalizerOrphanDependents),
		controllerutil.ContainsFinalizer(job, metav1.FinalizerDeleteDependents):
		return []action{update(w, garbageCollector, "lets go of Job", job, func(job *batchv1.Job) {
			controllerutil.RemoveFinalizer(job, metav1.FinalizerOrphanDependents)
			controllerutil.RemoveFinalizer(job, metav1.FinalizerDeleteDependents)
		})}
	default:
		return nil
	}
}
