// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	always    = corev1.RestartPolicyAlways
	onFailure = corev1.RestartPolicyOnFailure
	never     = corev1.RestartPolicyNever
)

var (
	notStarted = corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	runs       = corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	succeeded  = terminatedWith(0)
	failed     = terminatedWith(1)
	backingOff = corev1.ContainerStatus{State: notStarted.State, LastTerminationState: failed.State}
)

func terminatedWith(code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func of(statuses ...corev1.ContainerStatus) []corev1.ContainerStatus { return statuses }

func TestPhase(t *testing.T) {
	cases := map[string]struct {
		policy       corev1.RestartPolicy
		inits, mains []corev1.ContainerStatus
		ended        bool
		want         corev1.PodPhase
	}{
		"not started":                   {never, nil, of(notStarted), false, corev1.PodPending},
		"running":                       {never, nil, of(runs), false, corev1.PodRunning},
		"one started":                   {never, nil, of(runs, notStarted), false, corev1.PodPending},
		"one done":                      {never, nil, of(runs, succeeded), false, corev1.PodRunning},
		"one failed, one running":       {never, nil, of(runs, failed), false, corev1.PodRunning},
		"all done":                      {never, nil, of(succeeded, succeeded), false, corev1.PodSucceeded},
		"one failed":                    {never, nil, of(succeeded, failed), false, corev1.PodFailed},
		"failed, to be restarted":       {onFailure, nil, of(failed), false, corev1.PodRunning},
		"backing off":                   {onFailure, nil, of(backingOff), false, corev1.PodRunning},
		"done for good":                 {onFailure, nil, of(succeeded), false, corev1.PodSucceeded},
		"done, to be restarted":         {always, nil, of(succeeded), false, corev1.PodRunning},
		"init running":                  {never, of(runs), of(notStarted), false, corev1.PodPending},
		"init done":                     {never, of(succeeded), of(notStarted), false, corev1.PodPending},
		"init failed":                   {never, of(failed, notStarted), of(notStarted), false, corev1.PodFailed},
		"init failed, to be restarted":  {onFailure, of(failed), of(notStarted), false, corev1.PodPending},
		"init backing off":              {always, of(backingOff), of(notStarted), false, corev1.PodPending},
		"deleted, exited well":          {always, nil, of(succeeded), true, corev1.PodSucceeded},
		"deleted, exited badly":         {always, nil, of(succeeded, failed), true, corev1.PodFailed},
		"deleted while backing off":     {onFailure, nil, of(backingOff), true, corev1.PodFailed},
		"deleted before it started":     {never, nil, of(notStarted), true, corev1.PodFailed},
		"deleted while it initialised":  {onFailure, of(failed), of(notStarted), true, corev1.PodFailed},
		"deleted between the two steps": {never, of(succeeded), of(notStarted), true, corev1.PodFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := phase(c.policy, c.inits, c.mains, c.ended); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	named := func(name string, ready bool) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, Ready: ready}
	}
	earlier, now := time.Unix(1, 0), time.Unix(2, 0)
	cases := map[string]struct {
		phase        corev1.PodPhase
		inits, mains []corev1.ContainerStatus
		want         []corev1.PodCondition
	}{
		"initialising": {corev1.PodPending, of(named("i", false)), of(named("m", false)), []corev1.PodCondition{
			{Type: corev1.PodInitialized, Status: corev1.ConditionFalse, Reason: "ContainersNotInitialized",
				Message: "containers with incomplete status: [i]", LastTransitionTime: metav1.NewTime(now)},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady",
				Message: "containers with unready status: [m]", LastTransitionTime: metav1.NewTime(earlier)},
		}},
		"running": {corev1.PodRunning, of(named("i", true)), of(named("m", true)), []corev1.PodCondition{
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(earlier)},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now)},
		}},
		"succeeded": {corev1.PodSucceeded, nil, of(named("m", false)), []corev1.PodCondition{
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, Reason: "PodCompleted", LastTransitionTime: metav1.NewTime(earlier)},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "PodCompleted", LastTransitionTime: metav1.NewTime(earlier)},
		}},
		"failed": {corev1.PodFailed, nil, of(named("m", false)), []corev1.PodCondition{
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(earlier)},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "PodFailed", LastTransitionTime: metav1.NewTime(earlier)},
		}},
	}
	before := []corev1.PodCondition{
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(earlier)},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(earlier)},
		{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(earlier)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			containersReady := c.want[1] // A Pod is ready when its containers are.
			containersReady.Type = corev1.ContainersReady
			want := slices.Concat(c.want, []corev1.PodCondition{containersReady})
			if diff := cmp.Diff(want, conditions(before, c.phase, c.inits, c.mains, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRestarts(t *testing.T) {
	cases := map[corev1.RestartPolicy][2]bool{always: {true, true}, onFailure: {false, true}, never: {false, false}}
	for policy, want := range cases {
		if got := [2]bool{restarts(policy, 0), restarts(policy, 1)}; got != want {
			t.Errorf("%s: got %v, want %v", policy, got, want)
		}
	}
}

func TestBackOff(t *testing.T) {
	want := map[int32]time.Duration{0: 0, 1: 0, 2: 10 * time.Second, 3: 20 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 1000: 5 * time.Minute}
	for restart, delay := range want {
		if got := backOff(restart); got != delay {
			t.Errorf("restart %d: got %s, want %s", restart, got, delay)
		}
	}
}

func TestWithoutProcess(t *testing.T) {
	lost := withoutProcess(runs)
	if end := lost.State.Terminated; end == nil || end.ExitCode != 137 || end.Reason != "ContainerStatusUnknown" || lost.State.Running != nil {
		t.Errorf("a container that ran is lost, got %v", lost.State)
	}
	for _, status := range of(notStarted, succeeded, backingOff) {
		if diff := cmp.Diff(status, *withoutProcess(status)); diff != "" {
			t.Error(diff)
		}
	}
}
