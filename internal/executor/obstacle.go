// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the kubelet for a container that waits. The kubelet alternates between the two reasons of a pull.
const (
	reasonCreating         = "ContainerCreating"
	reasonInitializing     = "PodInitializing"
	reasonPullFailed       = "ErrImagePull"
	reasonPullBackOff      = "ImagePullBackOff"
	reasonCrashLoopBackOff = "CrashLoopBackOff"
	// reasonFailedCreate is the reason of the Job controller's Event about a Pod that the API server refused.
	reasonFailedCreate = "FailedCreate"
)

// ObstacleOf returns one line that says why an unfinished Job does not get on; empty if neither the Job nor its Pods tell.
// Of several Pods with an obstacle, it takes the one whose name comes first.
func ObstacleOf(job *batchv1.Job, pods []*corev1.Pod) string {
	if suspend := job.Spec.Suspend; suspend != nil && *suspend {
		return fmt.Sprintf("Job %s is suspended", job.Name)
	}
	byName := slices.SortedFunc(slices.Values(pods), func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, pod := range byName {
		if obstacle := PodObstacle(pod); obstacle != "" {
			return obstacle
		}
	}
	return ""
}

// PodObstacle returns one line that says why a Pod does not get on; empty if the Pod does not tell, has ended or is being
// deleted.
func PodObstacle(pod *corev1.Pod) string {
	if IsPodOver(pod) || pod.DeletionTimestamp != nil {
		return ""
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return sentence("Pod "+pod.Name+" is not scheduled", c.Reason, c.Message)
		}
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for i := range statuses {
		if reason, message := containerObstacle(&statuses[i]); reason != "" {
			return sentence(fmt.Sprintf("container %s of Pod %s waits", statuses[i].Name, pod.Name), reason, message)
		}
	}
	return ""
}

// containerObstacle returns why a container does not start; empty if it is not waiting, or waits only for its turn. The
// message has no back-off time, which would change all the time.
func containerObstacle(status *corev1.ContainerStatus) (reason, message string) {
	waiting := status.State.Waiting
	if waiting == nil {
		return "", ""
	}
	switch waiting.Reason {
	case "", reasonCreating, reasonInitializing:
		return "", ""
	case reasonPullFailed, reasonPullBackOff:
		return reasonPullBackOff, pullMessage(waiting.Message)
	case reasonCrashLoopBackOff:
		return reasonCrashLoopBackOff, lastEndMessage(status)
	default:
		return waiting.Reason, waiting.Message
	}
}

// pullMessage returns why a pull failed. In the message of a back-off, the failure comes after the image.
func pullMessage(message string) string {
	if _, cause, found := strings.Cut(message, ": "+reasonPullFailed+": "); found && strings.HasPrefix(message, "Back-off ") {
		return cause
	}
	return message
}

// lastEndMessage returns how a container ended before it waited for its restart.
func lastEndMessage(status *corev1.ContainerStatus) string {
	end := status.LastTerminationState.Terminated
	if end == nil {
		return ""
	}
	return sentence(fmt.Sprintf("it exited with code %d", end.ExitCode), end.Reason, end.Message)
}

// RefusedPodsOf returns one line that says why a Job has no Pods, from the latest Event of the Job controller about it;
// empty if there is none.
func RefusedPodsOf(job *batchv1.Job, events []corev1.Event) string {
	var last *corev1.Event
	for i := range events {
		e := &events[i]
		if e.Reason == reasonFailedCreate && (last == nil || lastSeen(e).After(lastSeen(last).Time)) {
			last = e
		}
	}
	if last == nil {
		return ""
	}
	return sentence(fmt.Sprintf("Job %s has no Pods", job.Name), reasonFailedCreate, strings.TrimPrefix(last.Message, "Error creating: "))
}

// lastSeen returns when an Event happened last.
func lastSeen(e *corev1.Event) metav1.Time {
	switch {
	case e.Series != nil:
		return metav1.Time(e.Series.LastObservedTime)
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	default:
		return metav1.Time(e.EventTime)
	}
}

// sentence joins what is wrong, its reason and a message: it waits (Reason): message.
func sentence(what, reason, message string) string {
	if reason != "" {
		what += " (" + reason + ")"
	}
	if message = strings.Join(strings.Fields(message), " "); message != "" {
		what += ": " + message
	}
	return valid(what)
}
