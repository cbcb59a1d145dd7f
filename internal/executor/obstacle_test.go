// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func TestObstacleOf(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
		change(p)
		return p
	}
	of := func(statuses ...corev1.ContainerStatus) *corev1.Pod {
		return pod(func(p *corev1.Pod) { p.Status.ContainerStatuses = statuses })
	}
	scheduled := func(status corev1.ConditionStatus, reason, message string) *corev1.Pod {
		return pod(func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: status, Reason: reason, Message: message}}
		})
	}
	crashing := waiting("CrashLoopBackOff", "back-off 40s restarting failed container=main pod=p_ns(uid)")
	crashing.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "no such\norg"}
	for name, tc := range map[string]struct {
		suspended bool
		pods      []*corev1.Pod
		want      string
	}{
		"nothing":                   {},
		"suspended":                 {suspended: true, want: "Job a-1 is suspended"},
		"suspended before its Pods": {suspended: true, pods: []*corev1.Pod{of(waiting("ErrImagePull", "x"))}, want: "Job a-1 is suspended"},
		"starting":                  {pods: []*corev1.Pod{of(waiting("ContainerCreating", "")), of(waiting("PodInitializing", "")), of(waiting("", ""))}},
		"running":                   {pods: []*corev1.Pod{of(corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})}},
		"a pull that failed": {
			pods: []*corev1.Pod{of(waiting("ErrImagePull", "rpc error: not found"))},
			want: "container main of Pod p waits (ImagePullBackOff): rpc error: not found",
		},
		"the back-off after it": {
			pods: []*corev1.Pod{of(waiting("ImagePullBackOff", `Back-off pulling image "x:1": ErrImagePull: rpc error: not found`))},
			want: "container main of Pod p waits (ImagePullBackOff): rpc error: not found",
		},
		"the back-off of an older kubelet": {
			pods: []*corev1.Pod{of(waiting("ImagePullBackOff", `Back-off pulling image "x:1"`))},
			want: `container main of Pod p waits (ImagePullBackOff): Back-off pulling image "x:1"`,
		},
		"a name of an image": {
			pods: []*corev1.Pod{of(waiting("InvalidImageName", "couldn't parse"))},
			want: "container main of Pod p waits (InvalidImageName): couldn't parse",
		},
		"a missing Secret": {
			pods: []*corev1.Pod{of(waiting("CreateContainerConfigError", `secret "s" not found`))},
			want: `container main of Pod p waits (CreateContainerConfigError): secret "s" not found`,
		},
		"a crash loop, without its back-off": {
			pods: []*corev1.Pod{of(crashing)},
			want: "container main of Pod p waits (CrashLoopBackOff): it exited with code 3 (Error): no such org",
		},
		"an init container": {
			pods: []*corev1.Pod{pod(func(p *corev1.Pod) {
				p.Status.InitContainerStatuses = []corev1.ContainerStatus{waiting("CreateContainerError", "no space")}
				p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("PodInitializing", "")}
			})},
			want: "container main of Pod p waits (CreateContainerError): no space",
		},
		"unschedulable": {
			pods: []*corev1.Pod{scheduled(corev1.ConditionFalse, "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")},
			want: "Pod p is not scheduled (Unschedulable): 0/1 nodes are available: 1 Insufficient cpu.",
		},
		"scheduled": {pods: []*corev1.Pod{scheduled(corev1.ConditionTrue, "", "")}},
		"a Pod that ended or is being deleted": {pods: []*corev1.Pod{
			pod(func(p *corev1.Pod) {
				p.Status.Phase, p.Status.ContainerStatuses = corev1.PodFailed, []corev1.ContainerStatus{waiting("ErrImagePull", "x")}
			}),
			pod(func(p *corev1.Pod) {
				p.DeletionTimestamp, p.Status.ContainerStatuses = &metav1.Time{}, []corev1.ContainerStatus{waiting("ErrImagePull", "x")}
			}),
		}},
		"the first of several": {
			pods: []*corev1.Pod{
				pod(func(p *corev1.Pod) {
					p.Name, p.Status.ContainerStatuses = "z", []corev1.ContainerStatus{waiting("ErrImagePull", "of z")}
				}),
				of(corev1.ContainerStatus{Name: "main"}),
				pod(func(p *corev1.Pod) {
					p.Name, p.Status.ContainerStatuses = "q", []corev1.ContainerStatus{waiting("ErrImagePull", "of q")}
				}),
			},
			want: "container main of Pod q waits (ImagePullBackOff): of q",
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a-1"}, Spec: batchv1.JobSpec{Suspend: &tc.suspended}}
			if got := ObstacleOf(job, tc.pods); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestRefusedPodsOf(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a-1"}}
	at := func(second int64) metav1.Time { return metav1.Unix(second, 0) }
	refusal := func(message string) corev1.Event { return corev1.Event{Reason: "FailedCreate", Message: message} }
	first, series, recent := refusal("Error creating: first"), refusal("Error creating: series"), refusal("Error creating: recent")
	first.LastTimestamp = at(1)
	series.Series = &corev1.EventSeries{LastObservedTime: metav1.MicroTime(at(3))}
	recent.EventTime = metav1.MicroTime(at(2))
	for name, tc := range map[string]struct {
		events []corev1.Event
		want   string
	}{
		"no Event":    {},
		"others":      {[]corev1.Event{{Reason: "SuccessfulCreate", Message: "Created pod"}}, ""},
		"one":         {[]corev1.Event{first}, "Job a-1 has no Pods (FailedCreate): first"},
		"the latest":  {[]corev1.Event{series, recent, first}, "Job a-1 has no Pods (FailedCreate): series"},
		"the latest.": {[]corev1.Event{first, recent}, "Job a-1 has no Pods (FailedCreate): recent"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RefusedPodsOf(job, tc.events); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestShowEnd(t *testing.T) {
	job := func(kind batchv1.JobConditionType, succeeded, failed int32) *batchv1.Job {
		return &batchv1.Job{Status: batchv1.JobStatus{
			Succeeded: succeeded, Failed: failed, Conditions: []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}},
		}}
	}
	pods := func(phases ...corev1.PodPhase) []corev1.Pod {
		var all []corev1.Pod
		for _, phase := range phases {
			all = append(all, corev1.Pod{Status: corev1.PodStatus{Phase: phase}})
		}
		return all
	}
	for name, tc := range map[string]struct {
		job  *batchv1.Job
		pods []corev1.Pod
		want bool
	}{
		"its Pod succeeded":              {job(batchv1.JobComplete, 1, 0), pods(corev1.PodSucceeded), true},
		"its Pod still runs in the list": {job(batchv1.JobComplete, 1, 0), pods(corev1.PodRunning), false},
		"its Pod is gone":                {job(batchv1.JobComplete, 1, 0), nil, false},
		"one of two is missing":          {job(batchv1.JobComplete, 2, 1), pods(corev1.PodSucceeded, corev1.PodFailed), false},
		"both are there":                 {job(batchv1.JobComplete, 2, 1), pods(corev1.PodSucceeded, corev1.PodSucceeded), true},
		"its Pod failed":                 {job(batchv1.JobFailed, 0, 1), pods(corev1.PodFailed), true},
		"one of two failures is missing": {job(batchv1.JobFailed, 0, 2), pods(corev1.PodFailed, corev1.PodRunning), false},
		"it counted none":                {job(batchv1.JobFailed, 0, 0), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ShowEnd(tc.job, tc.pods); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
