// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "1", "B": "$(A)", "E": ""}
	cases := map[string]string{
		"":                 "",
		"plain":            "plain",
		"$(A)":             "1",
		"x$(A)y$(A)":       "x1y1",
		"$(B)":             "$(A)", // expanded only once
		"[$(E)]":           "[]",
		"$(NO)":            "$(NO)",
		"$$(A)":            "$(A)",
		"$$$(A)":           "$1",
		"$A ${A} $":        "$A ${A} $",
		"$(A":              "$(A",
		"$($(A))":          "$($(A))",
		`{"k":"$(A)","é$é`: `{"k":"1","é$é`,
	}
	for in, want := range cases {
		if got := expand(in, vars); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	container := &corev1.Container{
		Command: []string{"sh", "-c"},
		Args:    []string{"echo $(X)"},
		Env:     []corev1.EnvVar{{Name: "X", Value: "y"}},
	}
	if diff := cmp.Diff([]string{"sh", "-c", "echo y"}, commandLine(container)); diff != "" {
		t.Error(diff)
	}
	container.Command = nil
	if line := commandLine(container); line != nil {
		t.Errorf("args without a command are the image's business, got %q", line)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PATH", "/bin")
	t.Setenv("SECRET", "not for containers")
	pod := &corev1.Pod{}
	pod.Name = "p"
	container := &corev1.Container{Env: []corev1.EnvVar{{Name: "HOME", Value: "/h"}, {Name: "X", Value: "y"}}}
	want := map[string]string{"PATH": "/bin", "HOME": "/h", "HOSTNAME": "p", "X": "y", terminationLogEnv: "/log"}
	if diff := cmp.Diff(want, environment(pod, container, "/work", "/log")); diff != "" {
		t.Error(diff)
	}
}

func TestResolveAddresses(t *testing.T) {
	field := func(path string) corev1.EnvVar {
		return corev1.EnvVar{Name: path, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Env: []corev1.EnvVar{field("status.hostIP")}}},
		Containers:     []corev1.Container{{Env: []corev1.EnvVar{field("metadata.name"), field("status.podIP"), {Name: "X", Value: "y"}}}},
	}}
	resolveAddresses(pod)
	got := slices.Concat(pod.Spec.InitContainers[0].Env, pod.Spec.Containers[0].Env)
	want := []corev1.EnvVar{
		{Name: "status.hostIP", Value: address},
		field("metadata.name"),
		{Name: "status.podIP", Value: address},
		{Name: "X", Value: "y"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeclaredEnvLastWins(t *testing.T) {
	env := declaredEnv(&corev1.Container{Env: []corev1.EnvVar{{Name: "X", Value: "1"}, {Name: "X", Value: "2"}}})
	if !maps.Equal(env, map[string]string{"X": "2"}) {
		t.Errorf("got %v", env)
	}
}
