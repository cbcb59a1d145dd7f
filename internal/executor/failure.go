// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// FailureOf returns what failed in the Pods of a failed Job; nil if none of them tells. The Pod is the one that failed
// last. own is the name of the run's own container. A Pod's own reason, e.g. Evicted, comes before the reason of its
// container, because it explains why the container ended.
func FailureOf(pods []corev1.Pod, own string) *v1alpha1.RunFailure {
	var last *v1alpha1.RunFailure
	var ended time.Time
	for i := range pods {
		failure := podFailure(&pods[i], own)
		if at := EndOfPod(&pods[i]); failure != nil && (last == nil || at.After(ended)) {
			last, ended = failure, at
		}
	}
	return last
}

// podFailure returns what failed in a Pod; nil if nothing has.
func podFailure(pod *corev1.Pod, own string) *v1alpha1.RunFailure {
	if pod.Status.Phase == corev1.PodSucceeded {
		return nil
	}
	name, end := failedContainer(pod, own)
	reason, message := podReason(pod)
	if end == nil && reason == "" {
		return nil
	}
	failure := &v1alpha1.RunFailure{Container: name}
	if end != nil {
		failure.ExitCode = new(end.ExitCode)
		if reason == "" {
			reason, message = end.Reason, end.Message
		}
	}
	failure.Reason = text.OneLine(valid(reason), v1alpha1.MaxFailureReasonBytes)
	failure.Message = text.End(strings.TrimSpace(valid(message)), v1alpha1.MaxFailureMessageBytes)
	if *failure == (v1alpha1.RunFailure{}) { // The reason was white space.
		return nil
	}
	return failure
}

// failedContainer returns the container of a Pod that failed, and how it ended: the run's own container first, then
// init containers, then others.
func failedContainer(pod *corev1.Pod, own string) (name string, end *corev1.ContainerStateTerminated) {
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for i := range statuses {
		failed := failedEnd(&statuses[i])
		if failed != nil && (end == nil || statuses[i].Name == own) {
			name, end = statuses[i].Name, failed
		}
	}
	return name, end
}

// failedEnd returns how a container failed, or how it failed before its restart; nil if it did not fail.
func failedEnd(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	end := status.State.Terminated
	if end == nil {
		end = status.LastTerminationState.Terminated
	}
	if end == nil || end.ExitCode == 0 {
		return nil
	}
	return end
}

// podReason returns why a Pod itself failed; empty if only its containers tell.
func podReason(pod *corev1.Pod) (reason, message string) {
	if pod.Status.Reason != "" {
		return pod.Status.Reason, pod.Status.Message
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

// EndOfPod returns when the last container of a Pod ended, or when the Pod was created if none has ended.
func EndOfPod(pod *corev1.Pod) time.Time {
	last := pod.CreationTimestamp.Time
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		for _, end := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
			if end != nil && end.FinishedAt.After(last) {
				last = end.FinishedAt.Time
			}
		}
	}
	return last
}

// FailureText formats a failure without its message: container main exited with code 3 (Error).
func FailureText(failure *v1alpha1.RunFailure) string {
	subject := "the Pod failed"
	if failure.Container != "" && failure.ExitCode != nil {
		subject = fmt.Sprintf("container %s exited with code %d", failure.Container, *failure.ExitCode)
	}
	if failure.Reason == "" {
		return subject
	}
	return fmt.Sprintf("%s (%s)", subject, failure.Reason)
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
