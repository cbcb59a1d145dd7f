// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// exit returns the status of a container that ended so many seconds after the Epoch.
func exit(name string, code int32, seconds int, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, Message: message, FinishedAt: wrappers.At(seconds),
	}}}
}

// restarted turns the end of a container into the one before its restart.
func restarted(status corev1.ContainerStatus) corev1.ContainerStatus {
	status.LastTerminationState, status.State = status.State, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	return status
}

func podOf(phase corev1.PodPhase, containers ...corev1.ContainerStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: wrappers.At(0)},
		Status:     corev1.PodStatus{Phase: phase, ContainerStatuses: containers},
	}
}

func TestFailureOf(t *testing.T) {
	failed := func(containers ...corev1.ContainerStatus) corev1.Pod { return podOf(corev1.PodFailed, containers...) }
	changed := func(pod corev1.Pod, change func(*corev1.Pod)) corev1.Pod {
		change(&pod)
		return pod
	}
	evicted := func(pod *corev1.Pod) {
		pod.Status.Reason, pod.Status.Message = "Evicted", "The node was low on memory."
	}
	disrupted := func(status corev1.ConditionStatus) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.DisruptionTarget, Status: status, Reason: "PreemptionByScheduler", Message: "made room",
			}}
		}
	}
	initFails := func(pod *corev1.Pod) {
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{exit("first", 0, 1, "Completed", ""), exit("init", 5, 2, "Error", "no schema")}
	}
	for name, tc := range map[string]struct {
		pods []corev1.Pod
		want *v1alpha1.RunFailure
	}{
		"no Pod": {},
		"a message of its own": {
			pods: []corev1.Pod{failed(exit("main", 3, 1, "Error", "no such org\n"))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "no such org"},
		},
		"out of memory": {
			pods: []corev1.Pod{failed(exit("main", 137, 1, "OOMKilled", ""))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(137)), Reason: "OOMKilled"},
		},
		"the run's own container, not one before it": {
			pods: []corev1.Pod{failed(exit("proxy", 1, 1, "Error", "x"), exit("main", 3, 2, "Error", "mine"))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "mine"},
		},
		"another container, if the run's own did not fail": {
			pods: []corev1.Pod{failed(exit("main", 0, 1, "Completed", "fine"), exit("side", 2, 2, "Error", "bad"))},
			want: &v1alpha1.RunFailure{Container: "side", ExitCode: new(int32(2)), Reason: "Error", Message: "bad"},
		},
		"an init container": {
			pods: []corev1.Pod{changed(failed(corev1.ContainerStatus{Name: "main"}), initFails)},
			want: &v1alpha1.RunFailure{Container: "init", ExitCode: new(int32(5)), Reason: "Error", Message: "no schema"},
		},
		"evicted before it started": {
			pods: []corev1.Pod{changed(failed(), evicted)},
			want: &v1alpha1.RunFailure{Reason: "Evicted", Message: "The node was low on memory."},
		},
		"evicted while it ran": {
			pods: []corev1.Pod{changed(failed(exit("main", 137, 1, "Error", "log")), evicted)},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(137)), Reason: "Evicted", Message: "The node was low on memory."},
		},
		"preempted": {
			pods: []corev1.Pod{changed(failed(exit("main", 143, 1, "Error", "")), disrupted(corev1.ConditionTrue))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(143)), Reason: "PreemptionByScheduler", Message: "made room"},
		},
		"not preempted after all": {
			pods: []corev1.Pod{changed(failed(exit("main", 3, 1, "Error", "")), disrupted(corev1.ConditionFalse))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error"},
		},
		"the Pod that failed last": {
			pods: []corev1.Pod{failed(exit("main", 1, 1, "Error", "1")), failed(exit("main", 3, 3, "Error", "3")), failed(exit("main", 2, 2, "Error", "2"))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "3"},
		},
		"no Pod that succeeded": {
			pods: []corev1.Pod{failed(exit("main", 1, 1, "Error", "1")), podOf(corev1.PodSucceeded, restarted(exit("main", 2, 2, "Error", "2")))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(1)), Reason: "Error", Message: "1"},
		},
		"a container that was restarted": {
			pods: []corev1.Pod{podOf(corev1.PodRunning, restarted(exit("main", 3, 1, "Error", "again")))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "again"},
		},
		"a Pod that does not tell": {pods: []corev1.Pod{failed(), failed(exit("main", 0, 1, "Completed", ""))}},
		"the end of a long message": {
			pods: []corev1.Pod{failed(exit("main", 3, 1, strings.Repeat("R", 300), strings.Repeat("x", 3000)+"\n💥"))},
			want: &v1alpha1.RunFailure{
				Container: "main", ExitCode: new(int32(3)), Reason: strings.Repeat("R", 256), Message: strings.Repeat("x", 2043) + "\n💥",
			},
		},
		"a message that is no UTF-8": {
			pods: []corev1.Pod{failed(exit("main", 3, 1, "", "a\xffb"))},
			want: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Message: "a\uFFFDb"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, FailureOf(tc.pods, "main")); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailureText(t *testing.T) {
	for want, failure := range map[string]v1alpha1.RunFailure{
		"container main exited with code 3 (Error)": {Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "x"},
		"container main exited with code 3":         {Container: "main", ExitCode: new(int32(3))},
		"the Pod failed (Evicted)":                  {Reason: "Evicted", Message: "x"},
	} {
		if got := FailureText(&failure); got != want {
			t.Errorf("text %q, want %q", got, want)
		}
	}
}
