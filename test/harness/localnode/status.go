// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failure is the reason why the node itself ended a Pod.
type failure struct {
	reason, message string
}

// phase returns the phase, as the kubelet's getPhase does. ended means that no container runs or will run.
func phase(policy corev1.RestartPolicy, inits, mains []corev1.ContainerStatus, ended bool) corev1.PodPhase {
	init, main := count(inits), count(mains)
	allSucceeded := main.succeeded == len(mains)
	switch {
	case ended && allSucceeded:
		return corev1.PodSucceeded
	case ended, policy == corev1.RestartPolicyNever && init.failed > 0:
		return corev1.PodFailed
	case init.running+init.waiting+main.waiting > 0:
		return corev1.PodPending
	case main.running > 0, policy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case allSucceeded:
		return corev1.PodSucceeded
	case policy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	default: // It will be restarted.
		return corev1.PodRunning
	}
}

// counts has the numbers of containers that have not run yet, that run, and that have ended, including those that will be
// restarted.
type counts struct {
	waiting, running, succeeded, failed int
}

func count(statuses []corev1.ContainerStatus) counts {
	var n counts
	for _, status := range statuses {
		switch end := lastEnd(status); {
		case status.State.Running != nil:
			n.running++
		case end == nil:
			n.waiting++
		case end.ExitCode == 0:
			n.succeeded++
		default:
			n.failed++
		}
	}
	return n
}

// lastEnd returns how a container last ended, or nil if it runs or has never run.
func lastEnd(status corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	switch {
	case status.State.Running != nil:
		return nil
	case status.State.Terminated != nil:
		return status.State.Terminated
	default:
		return status.LastTerminationState.Terminated
	}
}

// conditions returns the conditions that a kubelet reports. An unchanged condition keeps the time of its last transition.
func conditions(before []corev1.PodCondition, podPhase corev1.PodPhase, inits, mains []corev1.ContainerStatus, now time.Time) []corev1.PodCondition {
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if names := notReady(inits); len(names) > 0 {
		initialized.Status = corev1.ConditionFalse
		initialized.Reason = "ContainersNotInitialized"
		initialized.Message = fmt.Sprintf("containers with incomplete status: %s", names)
	} else if podPhase == corev1.PodSucceeded {
		initialized.Reason = "PodCompleted"
	}

	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
	names := notReady(mains)
	switch {
	case podPhase == corev1.PodSucceeded:
		ready.Reason = "PodCompleted"
	case podPhase == corev1.PodFailed:
		ready.Reason = "PodFailed"
	case len(names) > 0:
		ready.Reason = "ContainersNotReady"
		ready.Message = fmt.Sprintf("containers with unready status: %s", names)
	default:
		ready.Status = corev1.ConditionTrue
	}
	containersReady := ready
	containersReady.Type = corev1.ContainersReady

	after := []corev1.PodCondition{initialized, ready, containersReady}
	for i := range after {
		after[i].LastTransitionTime = metav1.NewTime(now)
		for _, old := range before {
			if old.Type == after[i].Type && old.Status == after[i].Status {
				after[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return after
}

func notReady(statuses []corev1.ContainerStatus) []string {
	var names []string
	for _, status := range statuses {
		if !status.Ready {
			names = append(names, status.Name)
		}
	}
	return names
}

// restarts reports whether a container that ended with this code starts again.
func restarts(policy corev1.RestartPolicy, exitCode int32) bool {
	switch policy {
	case corev1.RestartPolicyAlways:
		return true
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	default:
		return false
	}
}

// backOff returns how long a container waits before its nth restart. As with a kubelet, the first has no delay, the second
// 10 seconds, then twice as long each time, up to 5 minutes.
func backOff(restart int32) time.Duration {
	const first, most = 10 * time.Second, 5 * time.Minute
	if restart <= 1 {
		return 0
	}
	return min(most, first<<min(restart-2, 5))
}

// exited returns the state of a container whose process ran and ended.
func exited(exitCode int32, message string, started, finished time.Time) *corev1.ContainerStateTerminated {
	reason := "Completed"
	if exitCode != 0 {
		reason = "Error"
	}
	return &corev1.ContainerStateTerminated{
		ExitCode:   exitCode,
		Reason:     reason,
		Message:    message,
		StartedAt:  metav1.NewTime(started),
		FinishedAt: metav1.NewTime(finished),
	}
}

// neverStarted returns the state of a container whose process could not be started.
func neverStarted(err error, now time.Time) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode:   128,
		Reason:     "StartError",
		Message:    err.Error(),
		StartedAt:  metav1.NewTime(now),
		FinishedAt: metav1.NewTime(now),
	}
}

// withoutProcess returns the status of a container whose process, if any, is lost.
func withoutProcess(status corev1.ContainerStatus) *corev1.ContainerStatus {
	after := status.DeepCopy()
	if running := status.State.Running; running != nil {
		after.Ready, after.Started = false, new(false)
		after.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode:    137,
			Reason:      "ContainerStatusUnknown",
			Message:     "The container could not be located when the pod was terminated",
			StartedAt:   running.StartedAt,
			ContainerID: status.ContainerID,
		}}
	}
	return after
}
