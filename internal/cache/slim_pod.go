// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// slimRunning replaces the state of each container that runs.
var slimRunning = &corev1.ContainerStateRunning{}

// slimPod keeps what tells of a Pod whose it is, whether it has ended, how its containers ended, and why they do not
// start.
func slimPod(pod *corev1.Pod) {
	pod.ObjectMeta = metav1.ObjectMeta{
		Namespace:         canonical(pod.Namespace),
		Name:              pod.Name,
		UID:               pod.UID,
		ResourceVersion:   pod.ResourceVersion,
		CreationTimestamp: pod.CreationTimestamp,
		DeletionTimestamp: pod.DeletionTimestamp,
		Labels:            only(pod.Labels, v1alpha1.LabelRun, v1alpha1.LabelKey, batchv1.ControllerUidLabel),
		Annotations:       only(pod.Annotations, v1alpha1.AnnotationToken, batchv1.JobCompletionIndexAnnotation),
	}
	pod.Spec = corev1.PodSpec{}
	full := pod.Status
	pod.Status = corev1.PodStatus{
		Phase: canonical(full.Phase), Reason: canonical(full.Reason), Message: full.Message,
		Conditions:            slimPodConditions(full.Conditions),
		InitContainerStatuses: slimContainers(full.InitContainerStatuses),
		ContainerStatuses:     slimContainers(full.ContainerStatuses),
	}
}

// slimPodConditions keeps the conditions that say why a Pod is not scheduled, and why it was disrupted.
func slimPodConditions(all []corev1.PodCondition) []corev1.PodCondition {
	var kept []corev1.PodCondition
	for _, c := range all {
		unscheduled := c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse
		disrupted := c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
		if unscheduled || disrupted {
			kept = append(kept, corev1.PodCondition{
				Type: canonical(c.Type), Status: canonical(c.Status), Reason: canonical(c.Reason), Message: c.Message,
			})
		}
	}
	return kept
}

func slimContainers(all []corev1.ContainerStatus) []corev1.ContainerStatus {
	if len(all) == 0 {
		return nil
	}
	kept := make([]corev1.ContainerStatus, len(all))
	for i := range all {
		kept[i] = corev1.ContainerStatus{
			Name:                 canonical(all[i].Name),
			State:                slimState(all[i].State),
			LastTerminationState: corev1.ContainerState{Terminated: slimEnd(all[i].LastTerminationState.Terminated)},
		}
	}
	return kept
}

func slimState(full corev1.ContainerState) corev1.ContainerState {
	state := corev1.ContainerState{Terminated: slimEnd(full.Terminated)}
	if full.Running != nil {
		state.Running = slimRunning
	}
	if w := full.Waiting; w != nil {
		state.Waiting = &corev1.ContainerStateWaiting{Reason: canonical(w.Reason), Message: w.Message}
	}
	return state
}

func slimEnd(full *corev1.ContainerStateTerminated) *corev1.ContainerStateTerminated {
	if full == nil {
		return nil
	}
	return &corev1.ContainerStateTerminated{
		ExitCode: full.ExitCode, Signal: full.Signal, Reason: canonical(full.Reason), Message: full.Message, FinishedAt: full.FinishedAt,
	}
}
